"""Drawn or photographed? Text, interfaces, charts and flat illustrations against anything a lens may have formed.

A drawing program fills areas with exactly one colour and puts sharp edges between them. A sensor does not: its noise,
and what denoising and JPEG leave of it, changes neighbouring pixels by a few levels. JPEG keeps exact flatness wherever
no edge crosses a block. All is read from neighbouring pixels of a patch; constants come from photographs, AI images
and drawn graphics (docs/adr/0006).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONSTANT_CELLS, SHARP_PAIRS = 0.1, 0.01
"""A graphic patch: at least these shares of 4x4 cells of one grey level, and of neighbours 32 levels or more apart."""

NOISE_FREE_PAIRS = 0.98
"""... or this share of neighbours within one level: a computed gradient; no residual is left to look at."""

EQUAL_PAIRS, TEXTURED_PAIRS, NATURAL_CELLS = 0.3, 0.4, 0.01
"""A natural patch: fewer equal neighbours, more that differ by 2-15 levels, hardly a constant cell."""

_SHARP, _TEXTURED = 32, 16
_CELL = 4


def judge(patches: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of (n, 64, 64, 3) patches are graphic, and which are natural; a patch may be neither."""
    planes = np.ascontiguousarray(np.moveaxis(patches, -1, 0))  # (3, n, 64, 64): a channel lies together, so it is fast
    steps = np.concatenate(
        [
            _steps(planes[..., 1:], planes[..., :-1]).reshape(len(patches), -1),
            _steps(planes[..., 1:, :], planes[..., :-1, :]).reshape(len(patches), -1),
        ],
        axis=1,
    )  # (n, 2 * 63 * 64) uint8
    equal, noise_free, sharp = _share(steps == 0), _share(steps <= 1), _share(steps >= _SHARP)
    textured = _share(steps < _TEXTURED) - noise_free
    constant = _constant_cells(planes)
    graphic = ((constant >= CONSTANT_CELLS) & (sharp >= SHARP_PAIRS)) | (noise_free >= NOISE_FREE_PAIRS)
    natural = (equal < EQUAL_PAIRS) & (textured > TEXTURED_PAIRS) & (constant <= NATURAL_CELLS)
    return graphic, natural & ~graphic


def _share(said: NDArray[np.bool_]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = np.count_nonzero(said, axis=1) / said.shape[1]
    return share


def _steps(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Largest difference of the three channels, without leaving 8 bits."""
    step: NDArray[np.uint8] = (np.maximum(one, other) - np.minimum(one, other)).max(0)
    return step


def _constant_cells(planes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of 4x4 cells of a patch of one grey level, but for black and white: clipped light is constant too."""
    red, green, blue = planes.astype(np.uint16)
    count, side = green.shape[:2]
    rows = ((red + green + blue) // 3).reshape(count, side // _CELL, _CELL, side)
    cells = (count, side // _CELL, side // _CELL, _CELL)
    low, high = rows.min(2).reshape(cells).min(3), rows.max(2).reshape(cells).max(3)
    return _share(((low == high) & (low > 1) & (high < 254)).reshape(count, -1))
