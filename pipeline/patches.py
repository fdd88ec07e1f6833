"""DecodedImage -> Patches: which 64x64 patches of an image are looked at. The only patch cutter of the project.

The grid is the paper's (section "Inference": centre crop to multiples of 64, non-overlapping), moved onto JPEG's own
(ADR 17). Where it has more cells than the budget, a fixed subset is taken: blocks of four by four, as large as the
crops that the detector learned from (ADR 15). They come in the order of a quasirandom sequence, which spreads any
number of them over the image, and whose first n are always among its first n + 1. Cells that carry no trace of a sensor
(flat, clipped) are passed over. Cost depends on the budget, not on the size of the image.

Patches of what is no JPEG are saved as one first, as all was that the heads learned from: cameras write JPEG, and
a picture that was never one would be unlike all photographs for that alone (ADR 17).

Whether an image was drawn, single cells decide that are spread in the same way. One of drawn cells
(`pipeline.graphics`) is a graphic, and is not asked about. One that is partly drawn, such as a screenshot with a
photograph in it, is asked about the natural ones among these. Few drawn cells change nothing: a photograph may have
some, and it is cut as the photographs that the detector was calibrated on.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import graphics
from pipeline.errors import PipelineError
from pipeline.records import PATCH_SIZE, DecodedImage, NotApplicableReason, Patches
from pipeline.windows import TOGETHER

FLAT_DEVIATION = 1.0
"""Standard deviation, in 8-bit levels, under which a patch holds no usable residual."""

CLIPPED_SHARE = 0.5
"""Share of black or white pixels from which a patch is passed over."""

BLOCK = math.isqrt(TOGETHER)
"""Cells down and across of a window."""

JPEG_GRID = 16
"""px: blocks of a JPEG whose colour is halved."""

QUALITY = 90
"""Of the save that stands in for a camera's."""

CANDIDATES_PER_PATCH = 4
"""Cells tried for each patch of the budget, so that a mostly flat picture still fills it."""

PARTLY_DRAWN, DRAWN = 0.25, 0.6
"""Shares of graphic patches from which only natural ones count, and from which too few natural ones make a graphic."""

NATURAL_SHARE = 0.1
"""Share of natural patches under which a drawn image holds no photograph."""

PLASTIC_NUMBER = 1.324717957244746
"""The R2 sequence's (Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences", 2018): in two dimensions what
the golden ratio is in one."""


class NotApplicable(PipelineError):
    """The image has no patch that the question could be asked of."""

    def __init__(self, reason: NotApplicableReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def cut(image: DecodedImage, budget: int) -> Patches:
    """Up to `budget` usable patches of `image`, block by block, whole blocks first, so that each of these is one of the
    `windows`; of what is no JPEG, as a JPEG would hold them. Same pixels and format, same patches.

    Raises:
        NotApplicable: a side is under 64 px, every patch is flat or clipped, or the image is a graphic.
    """
    chosen = _chosen(image, budget)
    return chosen if image.format == "JPEG" else _saved(chosen)


def _saved(patches: Patches) -> Patches:
    """As a JPEG would hold them. Patches are whole blocks of it, so they can be saved by themselves, one below the
    other; only colour is interpolated over their edges, by a pixel."""
    buffer = io.BytesIO()
    column = Image.fromarray(patches.pixels.reshape(-1, PATCH_SIZE, 3))
    column.save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0")
    pixels = np.asarray(Image.open(buffer)).reshape(patches.pixels.shape)
    return Patches(pixels=pixels, corners=patches.corners)


def _chosen(image: DecodedImage, budget: int) -> Patches:
    if min(image.height, image.width) < PATCH_SIZE:
        raise NotApplicable(NotApplicableReason.TOO_SMALL)
    corners = _grid(image.height, image.width)
    rows, columns = image.height // PATCH_SIZE, image.width // PATCH_SIZE
    blocks = _blocks(rows, columns)
    sample = _usable_cells(image, corners, _spread(rows, columns), budget)
    if not sample:
        raise NotApplicable(NotApplicableReason.FLAT)
    spread = _by_block(image, corners, blocks, sample)
    graphic, natural = graphics.judge(spread.pixels)
    if natural.mean() < NATURAL_SHARE and graphic.mean() >= DRAWN:
        raise NotApplicable(NotApplicableReason.GRAPHIC)
    if natural.mean() >= NATURAL_SHARE and graphic.mean() >= PARTLY_DRAWN:
        return _only(spread, natural)
    if len(corners) <= budget:
        return spread  # these are all there are
    visited = _spread(math.ceil(rows / BLOCK), math.ceil(columns / BLOCK))
    order = sorted(visited, key=lambda block: _is_part(blocks[block]))
    chosen = _usable_cells(image, corners, np.concatenate([blocks[block] for block in order]), budget)
    if len(chosen) < min(len(sample), TOGETHER):
        return spread
    together = _by_block(image, corners, blocks, chosen)
    graphic, natural = graphics.judge(together.pixels)
    if graphic.mean() < PARTLY_DRAWN:
        return together
    return _only(together, natural) if natural.mean() >= NATURAL_SHARE else spread


def _usable_cells(
    image: DecodedImage, corners: NDArray[np.int32], order: NDArray[np.intp], budget: int
) -> list[np.intp]:
    """The first `budget` cells that may hold a trace, among the first `CANDIDATES_PER_PATCH` times as many."""
    usable: list[np.intp] = []
    for cell in order[: budget * CANDIDATES_PER_PATCH]:
        if _usable(_pixels(image, corners[cell])):
            usable.append(cell)
        if len(usable) == budget:
            break
    return usable


def _by_block(
    image: DecodedImage, corners: NDArray[np.int32], blocks: Sequence[NDArray[np.intp]], cells: Sequence[np.intp]
) -> Patches:
    """The patches of these cells: blocks that are whole, then what there is of others."""
    taken = np.zeros(len(corners), np.bool_)
    taken[list(cells)] = True
    there = corners[np.concatenate(sorted((block[taken[block]] for block in blocks), key=_is_part))]
    return Patches(pixels=np.stack([_pixels(image, corner) for corner in there]), corners=there)


def _only(patches: Patches, kept: NDArray[np.bool_]) -> Patches:
    return Patches(pixels=patches.pixels[kept], corners=patches.corners[kept])


def _is_part(block: NDArray[np.intp]) -> bool:
    """Whether it fills no window by itself."""
    return len(block) < TOGETHER


def _pixels(image: DecodedImage, corner: NDArray[np.int32]) -> NDArray[np.uint8]:
    y, x = corner
    return image.pixels[y : y + PATCH_SIZE, x : x + PATCH_SIZE]


def _blocks(rows: int, columns: int) -> list[NDArray[np.intp]]:
    """Numbers of the cells of each block, in reading order; smaller ones at the right and lower edge."""
    cells = np.arange(rows * columns).reshape(rows, columns)
    return [
        cells[top : top + BLOCK, left : left + BLOCK].ravel()
        for top in range(0, rows, BLOCK)
        for left in range(0, columns, BLOCK)
    ]


def _grid(height: int, width: int) -> NDArray[np.int32]:
    """Corners of all cells of the grid, (n, 2): y, x. It is centred as far as JPEG's own grid lets it: the heads
    learned from patches that lie on that (ADR 17)."""
    top, left = (side % PATCH_SIZE // 2 // JPEG_GRID * JPEG_GRID for side in (height, width))
    ys = np.arange(top, height - PATCH_SIZE + 1, PATCH_SIZE, dtype=np.int32)
    xs = np.arange(left, width - PATCH_SIZE + 1, PATCH_SIZE, dtype=np.int32)
    return np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)


def _spread(rows: int, columns: int) -> NDArray[np.intp]:
    """The numbers of all cells of a grid, in an order whose every beginning is spread evenly, from the middle on."""
    steps = np.arange(rows * columns)
    down, across = (
        ((0.5 + steps / PLASTIC_NUMBER**power) % 1 * side).astype(np.intp) for power, side in ((1, rows), (2, columns))
    )
    visited = down * columns + across
    early = visited[np.sort(np.unique(visited, return_index=True)[1])]
    return np.concatenate([early, np.setdiff1d(steps, early)])


def _usable(patch: NDArray[np.uint8]) -> bool:
    levels = patch.mean(axis=2, dtype=np.float32)
    clipped = float(((levels <= 1) | (levels >= 254)).mean())
    return clipped < CLIPPED_SHARE and float(levels.std()) >= FLAT_DEVIATION
