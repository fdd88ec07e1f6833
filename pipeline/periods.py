"""Patches -> how strongly residuals alternate from pixel to pixel, with periods of two, four and eight pixels.

A camera measures one colour at each pixel and interpolates the others: pixels of the two kinds are not equally noisy,
and the residual's magnitude has a period of two (Gallagher & Chen, *Image Authentication by Detecting Traces of
Demosaicing*, CVPR Workshops 2008). Blocks of JPEG have a period of eight, and the decoders of generators double an
image's size several times. Nothing is learned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PERIOD = 8
"""px: of the longest repetition that is looked for. All others divide it."""

TRUNCATION = 3.0
"""Of a magnitude, in mean magnitudes: edges weigh no more."""

FLOOR = 1e-3
"""Added to mean magnitudes (8-bit levels) and to amplitudes (shares of them), so that logarithms are finite. Amplitudes
of chance alone are about three times as large in sixteen patches."""


def _kinds() -> NDArray[np.intp]:
    """(8, 8): which number each frequency (down, across) belongs to; -1 for the mean. Mirrored frequencies are one,
    and so are down and across exchanged: an image may be turned."""
    fold = np.minimum(np.arange(PERIOD), PERIOD - np.arange(PERIOD))
    low, high = np.minimum.outer(fold, fold), np.maximum.outer(fold, fold)
    return np.asarray(np.unique(low * PERIOD + high, return_inverse=True)[1].reshape(PERIOD, PERIOD) - 1)


KINDS = _kinds()
DIMENSIONS = 3 * (int(KINDS.max()) + 1)


def describe(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGB (n, h, w, 3), n >= 1, sides of 10 px at least -> float32 (42,): logarithms of amplitudes, as shares of
    the mean magnitude, for each of red, green and blue.

    Patches have to lie on one grid of whole `PERIOD`s; where it begins changes little. The fewer they are, the more of
    an amplitude is chance.
    """
    return np.concatenate([_amplitudes(patches[..., colour]) for colour in range(3)]).astype(np.float32)


def _amplitudes(plane: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, h, w) -> (14,)"""
    p = plane.astype(np.float32)
    beside = p[:, :-2, 1:-1] + p[:, 2:, 1:-1] + p[:, 1:-1, :-2] + p[:, 1:-1, 2:]
    magnitude = np.abs(p[:, 1:-1, 1:-1] - beside / 4)
    mean = magnitude.mean() + FLOOR
    n, rows, columns = len(p), magnitude.shape[1] // PERIOD, magnitude.shape[2] // PERIOD
    whole = np.minimum(magnitude[:, : rows * PERIOD, : columns * PERIOD], TRUNCATION * mean)
    places = whole.reshape(n, rows, PERIOD, columns, PERIOD).mean((0, 1, 3), dtype=np.float64)  # (8, 8)
    logarithms = np.log(np.abs(np.fft.fft2(places)) / PERIOD**2 / mean + FLOOR)
    told = KINDS >= 0
    return np.asarray(np.bincount(KINDS[told], weights=logarithms[told]) / np.bincount(KINDS[told]))
