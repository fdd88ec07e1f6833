"""Residual statistics: what counts as the same event, and that they see what they are meant to see."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.cooccurrence import DIMENSIONS, _histogram, _quantise, describe


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).normal(128, 2, (3, 64, 64, 3)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_quantise_rounds_and_is_odd(step):
    residual = np.arange(-20, 21, dtype=np.int16).reshape(1, 1, -1)
    levels = _quantise(residual, step).astype(int) - 2
    exact = residual / step
    off_tie = np.abs(exact % 1 - 0.5) > 1e-9
    np.testing.assert_array_equal(levels[off_tie], np.rint(exact).clip(-2, 2)[off_tie])
    np.testing.assert_array_equal(levels, -levels[..., ::-1])


def test_histogram_counts_every_code():
    codes = np.random.default_rng(1).integers(0, 125, (4, 9, 7), dtype=np.uint8)
    np.testing.assert_array_equal(_histogram(codes), np.bincount(codes.ravel(), minlength=125))


def test_every_histogram_sums_to_one(noise):
    described = describe(noise)
    assert described.shape == (DIMENSIONS,)
    assert described.dtype == np.float32
    assert (described.astype(np.float64) ** 2).sum() == pytest.approx(15, abs=1e-4)  # five groups of three histograms


@pytest.mark.parametrize(
    "same",
    [
        lambda x: x[:, ::-1],  # upside down
        lambda x: x[:, :, ::-1],  # mirrored
        lambda x: x.transpose(0, 2, 1, 3),  # turned: rows and columns are counted together
        lambda x: x[::-1],  # patches in another order
        lambda x: 255 - x,  # negative
    ],
)
def test_what_says_nothing_about_the_camera_changes_nothing(noise, same):
    np.testing.assert_allclose(describe(same(noise)), describe(noise), atol=1e-6)


def test_smoothing_is_seen(noise):
    smooth = np.stack([np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(1))) for p in noise])
    assert np.abs(describe(smooth) - describe(noise)).max() > 0.2


def test_a_colour_cast_of_the_noise_is_seen(noise):
    grey = np.repeat(noise[..., 1:2], 3, axis=3)  # the same noise in all three colours, as a desaturated picture has
    assert np.abs(describe(grey) - describe(noise)).max() > 0.2
