"""The residual filter bank: 30 fixed high-pass filters that keep the noise of an image and drop its content.

Source: Fridrich & Kodovsky, "Rich Models for Steganalysis of Digital Images", IEEE TIFS 2012 (the SRM filters).
Every filter sums to zero, so a flat area gives zero away from the border.
"""

import numpy as np
import numpy.typing as npt

Kernel = npt.NDArray[np.float64]

_CENTRE = 2
_STEP = {
    "NW": (-1, -1), "N": (-1, 0), "NE": (-1, 1), "W": (0, -1),
    "E": (0, 1), "SW": (1, -1), "S": (1, 0), "SE": (1, 1),
}  # fmt: skip

_SQUARE_3 = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], dtype=np.float64)
_SQUARE_5 = np.array(
    [
        [-1, 2, -2, 2, -1],
        [2, -6, 8, -6, 2],
        [-2, 8, -12, 8, -2],
        [2, -6, 8, -6, 2],
        [-1, 2, -2, 2, -1],
    ],
    dtype=np.float64,
)  # the "KV" kernel


def _line(taps: dict[tuple[str, int], float]) -> Kernel:
    """A filter from taps at (direction, distance); distance 0 is the centre."""
    kernel = np.zeros((5, 5))
    for (direction, distance), value in taps.items():
        down, right = _STEP[direction]
        kernel[_CENTRE + distance * down, _CENTRE + distance * right] = value
    return kernel


def _first_order(d: str) -> Kernel:
    return _line({(d, 0): -1, (d, 1): 1})


def _second_order(d: str) -> Kernel:
    return _line({(d, 1): 1, (d, 0): -2, (d, -1): 1}) / 2


def _third_order(d: str) -> Kernel:
    return _line({(d, 2): -1, (d, 1): 3, (d, 0): -3, (d, -1): 1}) / 3


def _edges(square: Kernel) -> list[Kernel]:
    """Top, right, bottom and left half of a square kernel: the rows or columns beyond its centre line are zero."""
    top = square.copy()
    top[len(square) // 2 + 1 :] = 0
    return [np.rot90(top, -quarter) for quarter in range(4)]


def _in_5x5(kernel: Kernel) -> Kernel:
    return np.pad(kernel, (5 - len(kernel)) // 2)


def _build_bank() -> npt.NDArray[np.float32]:
    filters: list[Kernel] = [
        *map(_first_order, ("NW", "N", "NE", "W", "E", "SW", "S", "SE")),
        *map(_second_order, ("NW", "N", "NE", "W")),
        *map(_third_order, ("NW", "N", "NE", "E", "SE", "S", "SW", "W")),
        *(edge / 4 for edge in _edges(_SQUARE_3)),
        *(edge / 12 for edge in _edges(_SQUARE_5)),
        _SQUARE_3 / 4,
        _SQUARE_5 / 12,
    ]
    bank = np.stack([_in_5x5(f) for f in filters]).astype(np.float32)
    bank.setflags(write=False)
    return bank


BANK: npt.NDArray[np.float32] = _build_bank()
"""The 30 filters in the authors' order, (30, 5, 5) float32, to be cross-correlated (not flipped)."""


def residuals(patch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Reference response of the bank, zero padding 2.

    `patch` is (H, W, C) in any unit; the answer is (C * 30, H, W) in the same unit, channel-major
    (all 30 maps of the first channel, then of the second ...), as the network's first convolution reads them.
    """
    height, width, channels = patch.shape
    padded = np.pad(patch, ((2, 2), (2, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1))  # (H, W, C, 5, 5)
    maps: npt.NDArray[np.float32] = np.einsum("hwcij,kij->ckhw", windows, BANK)
    return maps.reshape(channels * len(BANK), height, width)
