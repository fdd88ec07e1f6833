"""Patches -> all that is said of them without a network: for the binary head, and a part for the one-class model.

Everything is said twice, of the pixels and of their means two by two: what a camera's or a generator's pipeline leaves
at half the size outlasts compression, which takes the finest detail first (docs/train.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import cooccurrence, periods, self_description
from pipeline.records import SELF_DESCRIPTION_DIM
from pipeline.windows import windows

SCALES = 2
COOCCURRENCES = SCALES * cooccurrence.DIMENSIONS
RESIDUALS = COOCCURRENCES + SCALES * periods.DIMENSIONS
DIMENSIONS = RESIDUALS + SELF_DESCRIPTION_DIM


def describe(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGB (n, 64, 64, 3), n >= 1 -> (1782,): co-occurrences, then periods, then self-descriptions, each of the
    patches and of the `halved` ones, as means over `windows`.

    Patches have to lie on one grid of multiples of 16 px, as `patches.cut` lays it.
    """
    scales, parts = (patches, halved(patches)), (cooccurrence, periods, self_description)
    seen = [
        np.concatenate([part.describe(pixels[window]) for part in parts for pixels in scales])
        for window in windows(len(patches))
    ]
    return np.asarray(np.mean(seen, axis=0, dtype=np.float32))


def self_described(statistics: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 1782) -> (..., 288): what of it the one-class model looks at, beside the encoder's embedding."""
    return statistics[..., RESIDUALS:]


def halved(patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, h, w, 3), h and w even -> (n, h / 2, w / 2, 3): each the mean of 2x2 pixels, halves to the even level."""
    rows = patches[:, ::2].astype(np.float32) + patches[:, 1::2]
    return np.asarray(np.rint((rows[:, :, ::2] + rows[:, :, 1::2]) / 4).astype(np.uint8))
