"""Patches -> self-description: how each pixel follows from its neighbours. Nothing is learned across images.

Source: Nguyen et al., *Forensic Self-Descriptions Are All You Need for Zero-Shot Detection, Open-Set Source
Attribution, and Clustering of AI-generated Images* (CVPR 2025). There a bank of learned predictors describes an image;
here one least-squares predictor describes each patch, and an image is the mean and the standard deviation of its
patches. How it was chosen, on photographs alone: ADR 11.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
"""(n, side, side): one colour of n patches."""

RADIUS = 3
"""px: a pixel is predicted from the 7x7 square around it."""

PAIRS = [(y, x) for y in range(-RADIUS, RADIUS + 1) for x in range(-RADIUS, RADIUS + 1) if (y, x) > (0, 0)]
"""One neighbour of each two that lie opposite; both get the same coefficient."""

EVERY = 2
"""Only every second row's pixels are predicted: half the cost."""

RIDGE = 0.25
"""The square of half an 8-bit level, added to the neighbours' variances: where a patch has no more detail than that,
its coefficients tend to zero instead of to noise."""

DIMENSIONS = 2 * 3 * len(PAIRS)


def describe(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGB (n, side, side, 3), n >= 1 -> float32 (144,): of the coefficients, means over patches, then deviations.

    For each of green, red - green and blue - green: one coefficient for each of `PAIRS`.
    """
    red, green, blue = (patches[..., colour].astype(np.float64) for colour in range(3))
    planes = (green, red - green, blue - green)
    coefficients = np.concatenate([_coefficients(plane) for plane in planes], axis=1)  # (n, 72)
    return np.concatenate([coefficients.mean(0), coefficients.std(0)]).astype(np.float32)


def _coefficients(plane: Plane) -> NDArray[np.float64]:
    """(n, 24): least squares, ridged, of each pixel on the sums of its opposite neighbours."""
    columns = _columns(plane - plane.mean((1, 2), keepdims=True))
    gram = columns @ columns.transpose(0, 2, 1) / columns.shape[2]  # (n, 25, 25)
    ridged = gram[:, 1:, 1:] + RIDGE * np.eye(len(PAIRS))
    return np.asarray(np.linalg.solve(ridged, gram[:, 1:, :1])[..., 0])


def _columns(plane: Plane) -> NDArray[np.float64]:
    """(n, 25, pixels): each predicted pixel, and the sum of each pair of its neighbours."""
    predicted = _shifted(plane, 0, 0)
    columns = np.empty((len(plane), 1 + len(PAIRS), *predicted.shape[1:]))
    columns[:, 0] = predicted
    for number, (y, x) in enumerate(PAIRS, start=1):  # into its place: a stack of 24 sums would copy them once more
        np.add(_shifted(plane, y, x), _shifted(plane, -y, -x), out=columns[:, number])
    return columns.reshape(len(plane), 1 + len(PAIRS), -1)


def _shifted(plane: Plane, y: int, x: int) -> Plane:
    """The neighbours at (y, x) of the pixels that are predicted."""
    side = plane.shape[1]
    return plane[:, RADIUS + y : side - RADIUS + y : EVERY, RADIUS + x : side - RADIUS + x]
