"""Patches -> all that is said of them without a network: for the binary head, and a part for the one-class model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import cooccurrence, self_description
from pipeline.records import SELF_DESCRIPTION_DIM

DIMENSIONS = cooccurrence.DIMENSIONS + SELF_DESCRIPTION_DIM

SELF_DESCRIPTION = slice(cooccurrence.DIMENSIONS, DIMENSIONS)
"""Where the self-description lies."""


def describe(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGB (n, 64, 64, 3), n >= 1 -> float32 (DIMENSIONS,)."""
    return np.concatenate([cooccurrence.describe(patches), self_description.describe(patches)])
