"""DecodedImage -> Patches: which 64x64 patches of an image are looked at. The only patch cutter of the project.

The grid is the paper's (section "Inference": centre crop to multiples of 64, non-overlapping, row-major). Where it has
more cells than the budget, a fixed subset is taken: cells in the order of the golden-ratio sequence, which spreads any
number of them over the whole image without lining up with its columns, and whose first n cells are always among its
first n + 1. Cells that carry no trace of a sensor (flat, clipped) are passed over. Cost depends on the budget, not on
the size of the image.

An image of drawn patches (`pipeline.graphics`) is a graphic, and is not asked about. One that is partly drawn, such as
a screenshot with a photograph in it, is asked about its natural patches only. Few drawn patches change nothing: a
photograph may have some, and it is cut as the photographs that the detector was calibrated on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline import graphics
from pipeline.errors import PipelineError
from pipeline.records import PATCH_SIZE, DecodedImage, NotApplicableReason, Patches

FLAT_DEVIATION = 1.0
"""Standard deviation, in 8-bit levels, under which a patch holds no usable residual."""

CLIPPED_SHARE = 0.5
"""Share of black or white pixels from which a patch is passed over."""

CANDIDATES_PER_PATCH = 4
"""Cells tried for each patch of the budget, so that a mostly flat picture still fills it."""

PARTLY_DRAWN, DRAWN = 0.25, 0.6
"""Shares of graphic patches from which only natural ones count, and from which too few natural ones make a graphic."""

NATURAL_SHARE = 0.1
"""Share of natural patches under which a drawn image holds no photograph."""

GOLDEN_RATIO = (1 + 5**0.5) / 2


class NotApplicable(PipelineError):
    """The image has no patch that the question could be asked of."""

    def __init__(self, reason: NotApplicableReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def cut(image: DecodedImage, budget: int) -> Patches:
    """Up to `budget` usable patches of `image`, in reading order. Same pixels, same patches.

    Raises:
        NotApplicable: a side is under 64 px, every patch is flat or clipped, or the image is a graphic.
    """
    if min(image.height, image.width) < PATCH_SIZE:
        raise NotApplicable(NotApplicableReason.TOO_SMALL)
    corners = _grid(image.height, image.width)
    chosen = []
    for cell in _spread(len(corners))[: budget * CANDIDATES_PER_PATCH]:
        y, x = corners[cell]
        patch = image.pixels[y : y + PATCH_SIZE, x : x + PATCH_SIZE]
        if _usable(patch):
            chosen.append(cell)
        if len(chosen) == budget:
            break
    if not chosen:
        raise NotApplicable(NotApplicableReason.FLAT)
    corners = corners[np.sort(chosen)]
    pixels = np.stack([image.pixels[y : y + PATCH_SIZE, x : x + PATCH_SIZE] for y, x in corners])
    kept = _not_drawn(pixels)
    return Patches(pixels=pixels[kept], corners=corners[kept])


def _not_drawn(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of an image's patches to ask about."""
    graphic, natural = graphics.judge(pixels)
    if natural.mean() >= NATURAL_SHARE:
        return natural if graphic.mean() >= PARTLY_DRAWN else np.ones(len(pixels), np.bool_)
    if graphic.mean() >= DRAWN:
        raise NotApplicable(NotApplicableReason.GRAPHIC)
    return np.ones(len(pixels), np.bool_)


def _grid(height: int, width: int) -> NDArray[np.int32]:
    """Corners of all cells of the centred grid, (n, 2): y, x."""
    top, left = height % PATCH_SIZE // 2, width % PATCH_SIZE // 2
    ys = np.arange(top, height - PATCH_SIZE + 1, PATCH_SIZE, dtype=np.int32)
    xs = np.arange(left, width - PATCH_SIZE + 1, PATCH_SIZE, dtype=np.int32)
    return np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)


def _spread(count: int) -> NDArray[np.intp]:
    """0 ... count - 1 in an order whose every beginning is spread evenly (additive recurrence by the golden ratio)."""
    sequence = (np.arange(count) * GOLDEN_RATIO) % 1.0
    # The i-th visited cell is where the i-th point of the sequence falls among all of them.
    return np.argsort(np.argsort(sequence))


def _usable(patch: NDArray[np.uint8]) -> bool:
    levels = patch.mean(axis=2, dtype=np.float32)
    clipped = float(((levels <= 1) | (levels >= 254)).mean())
    return clipped < CLIPPED_SHARE and float(levels.std()) >= FLAT_DEVIATION
