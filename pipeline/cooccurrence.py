"""Patches -> residual statistics: which values neighbouring residuals take together, and how often. Nothing is learned.

Source: the rich models of steganalysis. A residual is divided by a step, rounded and truncated to -2 ... 2. The joint
histogram of three neighbours (Fridrich & Kodovsky, *Rich Models for Steganalysis of Digital Images*, TIFS 2012)
describes noise, sharpening and compression; that of the three colours of one pixel (Goljan, Fridrich & Cogranne, *Rich
Model for Steganalysis of Color Images*, WIFS 2014) describes demosaicing. A triple and its negative are the same event,
and so are a triple of neighbours and its mirror image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Planes = NDArray[np.int16]
"""(n, h, w): one colour of n patches, or a residual of it."""
Levels = NDArray[np.uint8]
"""(n, h, w): a quantised residual, 0 ... 4 for -2 ... 2."""

TRUNCATION = 2
LEVELS = 2 * TRUNCATION + 1
TRIPLES = LEVELS**3
HIGH, MIDDLE = np.uint8(LEVELS**2), np.uint8(LEVELS)
"""A triple as one number: first * 25 + second * 5 + third, at most 124."""


def _events(*, mirrored: bool) -> NDArray[np.intp]:
    """(125,): the event that each triple counts as."""
    triples = np.stack(np.unravel_index(np.arange(TRIPLES), (LEVELS,) * 3))  # (3, 125)
    forms = [triples, LEVELS - 1 - triples]
    if mirrored:
        forms += [form[::-1] for form in forms]
    codes = np.stack([np.ravel_multi_index(tuple(form), (LEVELS,) * 3) for form in forms])
    return np.asarray(np.unique(codes.min(axis=0), return_inverse=True)[1])


NEIGHBOURS, COLOURS = _events(mirrored=True), _events(mirrored=False)
GROUPS = 5
DIMENSIONS = GROUPS * (2 * (int(NEIGHBOURS.max()) + 1) + int(COLOURS.max()) + 1)


def describe(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGB (n, h, w, 3), n >= 1 -> float32 (DIMENSIONS,): square roots of the events' frequencies.

    For each group of residuals: triples along the filter's direction, across it, and of the three colours.
    """
    red, green, blue = (np.ascontiguousarray(patches[..., colour], dtype=np.int16) for colour in range(3))
    colours = (red, green, blue)
    differences = (red - green, blue - green, red - blue)
    return np.concatenate(
        [
            *_group([_pair(plane, 1, 1) for plane in colours]),
            *_group([_pair(plane, 2, 2) for plane in colours]),
            *_group([_pair(plane, 3, 3) for plane in colours]),
            *_group([(_quantise(_square(plane), 4),) * 2 for plane in colours]),
            *_group([_pair(plane, 1, 1) for plane in differences]),
        ]
    ).astype(np.float32)


def _pair(plane: Planes, order: int, step: int) -> tuple[Levels, Levels]:
    """The quantised differences of this order along rows and along columns."""
    return _quantise(np.diff(plane, order, axis=2), step), _quantise(np.diff(plane, order, axis=1), step)


def _square(p: Planes) -> Planes:
    """The "square 3x3" residual of the SRM bank, times 4: [-1 2 -1; 2 -4 2; -1 2 -1]."""
    beside = p[:, :-2, 1:-1] + p[:, 2:, 1:-1] + p[:, 1:-1, :-2] + p[:, 1:-1, 2:]
    corners = p[:, :-2, :-2] + p[:, :-2, 2:] + p[:, 2:, :-2] + p[:, 2:, 2:]
    return np.asarray(2 * beside - corners - 4 * p[:, 1:-1, 1:-1])


def _quantise(residual: Planes, step: int) -> Levels:
    """round(residual / step), halves towards zero, truncated to -2 ... 2: by comparisons, the fastest way in NumPy."""
    half, three_halves = step // 2, 3 * step // 2
    above = [(residual >= bound).view(np.uint8) for bound in (-three_halves, -half, half + 1, three_halves + 1)]
    return np.asarray(above[0] + above[1] + above[2] + above[3])


def _group(pairs: Sequence[tuple[Levels, Levels]]) -> Iterator[NDArray[np.float64]]:
    """Three histograms of one kind of residual; `pairs`: its row and column form in each of three colours."""
    along = across = between = np.zeros(TRIPLES)
    for rows, columns in pairs:
        along = along + _neighbours(rows, 2) + _neighbours(columns, 1)
        across = across + _neighbours(rows, 1) + _neighbours(columns, 2)
    for direction in range(2):
        first, second, third = (pair[direction] for pair in pairs)
        between = between + _histogram(first * HIGH + second * MIDDLE + third)
    yield _frequencies(along, NEIGHBOURS)
    yield _frequencies(across, NEIGHBOURS)
    yield _frequencies(between, COLOURS)


def _neighbours(levels: Levels, axis: Literal[1, 2]) -> NDArray[np.float64]:
    """How often each triple of neighbours along `axis` occurs, (125,)."""
    high, middle = levels * HIGH, levels * MIDDLE  # whole arrays first: products of slices are four times slower
    if axis == 1:
        return _histogram(high[:, :-2] + middle[:, 1:-1] + levels[:, 2:])
    return _histogram(high[:, :, :-2] + middle[:, :, 1:-1] + levels[:, :, 2:])


def _histogram(codes: Levels) -> NDArray[np.float64]:
    """How often each of 0 ... 124 occurs, (125,). Pillow counts bytes three times as fast as `np.bincount`."""
    counts = Image.fromarray(codes.reshape(len(codes), -1)).histogram()
    return np.array(counts[:TRIPLES], dtype=np.float64)


def _frequencies(triples: NDArray[np.float64], events: NDArray[np.intp]) -> NDArray[np.float64]:
    """The Hellinger form of a histogram: distances between square roots weigh rare events fairly."""
    counts = np.bincount(events, weights=triples)
    return np.asarray(np.sqrt(counts / counts.sum()))
