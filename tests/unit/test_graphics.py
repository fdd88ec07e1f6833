"""Which patches are drawn, and which a lens may have formed."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.graphics import judge
from tests.images import drawing, jpeg


def sensor(level, deviation, seed=0):
    noise = np.random.default_rng(seed).normal(0, deviation, (64, 64, 3))
    return np.clip(level + noise, 0, 255).round().astype(np.uint8)


def recompressed(pixels, quality):
    return np.asarray(Image.open(io.BytesIO(jpeg(pixels, quality=quality))))


RAMP = np.linspace(60, 180, 64)[:, None, None] + np.zeros((64, 64, 3))
EDGE = np.where(np.arange(64)[None, :, None] < 30, 40.0, 180.0) + np.zeros((64, 64, 3))


@pytest.mark.parametrize(
    ("patch", "graphic", "natural"),
    [
        (drawing(64, 64), True, False),
        (recompressed(drawing(64, 64), 85), True, False),
        (
            np.tile(np.linspace(80, 110, 64).astype(np.uint8)[:, None, None], (1, 64, 3)),
            True,
            False,
        ),  # computed gradient
        (sensor(RAMP, 3), False, True),
        (recompressed(sensor(RAMP, 3), 95), False, True),
        (sensor(EDGE, 2), False, True),  # a sharp edge alone is no drawing
        (np.where(EDGE > 100, 255, sensor(40, 3)).astype(np.uint8), False, False),  # nor is clipped light
        (sensor(120, 0.4), False, False),  # denoised until hardly anything is left, but no edge
    ],
    ids=["drawn", "drawn, JPEG", "gradient", "sensor", "sensor, JPEG", "edge", "clipped", "denoised"],
)
def test_a_patch(patch, graphic, natural):
    assert [bool(said[0]) for said in judge(patch[None])] == [graphic, natural]


def test_each_patch_is_judged_by_itself():
    graphic, natural = judge(np.stack([drawing(64, 64), sensor(RAMP, 3), drawing(64, 64)]))
    assert graphic.tolist() == [True, False, True]
    assert natural.tolist() == [False, True, False]
