"""Score -> picture: where in an image the patches look least like a photograph's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.records import PATCH_SIZE, DecodedImage, Score

MAX_SIDE = 1600
"""Longer side of the picture, px."""

_STRANGE, _USUAL = np.array([213, 94, 0]), np.array([0, 114, 178])
"""Vermilion and blue of Okabe and Ito's palette, which colour-blind people can tell apart."""


def draw_heatmap(image: DecodedImage, score: Score) -> Image.Image:
    """The image in grey, each patch tinted from blue (its most photograph-like) to orange (its least), RGB.

    Colours compare the patches of this one image; they say nothing about how it compares with others. Places that were
    not looked at stay grey.
    """
    grey = image.pixels.mean(axis=2, keepdims=True).astype(np.uint8)
    picture = np.repeat(grey, 3, axis=2)
    for (y, x), tint in zip(score.patch_corners, tints(score), strict=True):
        patch = picture[y : y + PATCH_SIZE, x : x + PATCH_SIZE]
        patch[:] = 0.5 * patch + 0.5 * tint
    drawn = Image.fromarray(picture)
    drawn.thumbnail((MAX_SIDE, MAX_SIDE))
    return drawn


def tints(score: Score) -> NDArray[np.float64]:
    """RGB, 0-255, of each patch, (n, 3): blue for the image's most photograph-like ones ... orange for its least."""
    strangeness = np.array(_strangeness(score))[:, None]
    return np.asarray(strangeness * _STRANGE + (1 - strangeness) * _USUAL)


def _strangeness(score: Score) -> list[float]:
    """0 for the image's most likely patches ... 1 for its least likely; the outermost tenths share their ends."""
    values = np.asarray(score.patch_log_likelihoods)
    low, high = np.quantile(values, [0.1, 0.9])
    if high <= low:
        return [0.5] * len(values)
    relative: list[float] = np.clip((high - values) / (high - low), 0, 1).tolist()
    return relative
