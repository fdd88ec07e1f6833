"""Patches -> all that is said of them without a network: for the binary head, and a part for the one-class model.

Everything is said twice, of the pixels and of their means two by two: what a camera's or a generator's pipeline leaves
at half the size outlasts compression, which takes the finest detail first (docs/train.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import cooccurrence, periods, self_description
from pipeline.records import SELF_DESCRIPTION_DIM, Description
from pipeline.windows import TOGETHER, windows

SCALES = 2
COOCCURRENCES = SCALES * cooccurrence.DIMENSIONS
RESIDUALS = COOCCURRENCES + SCALES * periods.DIMENSIONS
DIMENSIONS = RESIDUALS + SELF_DESCRIPTION_DIM


def describe(patches: NDArray[np.uint8]) -> Description:
    """uint8 RGB (n, 64, 64, 3), n >= 1.

    `statistics` are co-occurrences, then periods, then self-descriptions, each of the patches and of the `halved` ones,
    as means over `windows`. `self_description` is of sixteen patches at most, evenly spread: the numbers of more would
    scatter less, and an image of few would look strange for its size alone (ADR 11).

    Patches have to lie on one grid of multiples of 16 px, as `patches.cut` lays it.
    """
    scales, parts = (patches, halved(patches)), (cooccurrence, periods, self_description)
    seen = [
        np.concatenate([part.describe(pixels[window]) for part in parts for pixels in scales])
        for window in windows(len(patches))
    ]
    evenly = np.linspace(0, len(patches) - 1, min(len(patches), TOGETHER)).round().astype(int)
    return Description(
        statistics=np.mean(seen, axis=0, dtype=np.float32),
        self_description=np.concatenate([self_description.describe(pixels[evenly]) for pixels in scales]),
    )


def halved(patches: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, h, w, 3), h and w even -> (n, h / 2, w / 2, 3): each the mean of 2x2 pixels, halves to the even level."""
    rows = patches[:, ::2].astype(np.float32) + patches[:, 1::2]
    return np.asarray(np.rint((rows[:, :, ::2] + rows[:, :, 1::2]) / 4).astype(np.uint8))
