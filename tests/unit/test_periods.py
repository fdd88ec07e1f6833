"""Amplitudes of periodic residuals: what they see, and what they must not see."""

import numpy as np
import pytest

from pipeline.periods import DIMENSIONS, KINDS, describe

A_COLOUR = DIMENSIONS // 3
EVERY_SECOND, EVERY_EIGHTH = KINDS[4, 4], KINDS[0, 1]
"""Numbers of the red amplitudes that alternate from pixel to pixel down and across, and once in eight pixels."""


def noise(count=16, seed=0):
    return np.random.default_rng(seed).normal(128, 6, (count, 64, 64, 3)).clip(0, 255).astype(np.uint8)


def demosaiced(patches):
    """Red is measured where row and column are both even or both odd, and interpolated elsewhere."""
    red = patches[..., 0].astype(float)
    beside = (np.roll(red, 1, 1) + np.roll(red, -1, 1) + np.roll(red, 1, 2) + np.roll(red, -1, 2)) / 4
    chosen = np.add.outer(np.arange(64), np.arange(64)) % 2 == 0
    out = patches.copy()
    out[..., 0] = np.where(chosen, red, beside).round()
    return out


def test_numbers_and_kind():
    described = describe(noise())
    assert described.shape == (DIMENSIONS,) == (42,)
    assert described.dtype == np.float32


def test_interpolation_is_seen_in_its_colour_and_at_its_period():
    change = describe(demosaiced(noise())) - describe(noise())
    assert change.argmax() == EVERY_SECOND
    assert change[EVERY_SECOND] > 3
    assert np.abs(change[A_COLOUR:]).max() == 0  # green and blue are as they were


def striped(patches):
    """Every eighth column is calmer."""
    out = patches.copy()
    out[:, :, ::8] = out[:, :, ::8] // 2 + 64
    return out


def checked(patches):
    """Brighter where (row - 3 x column) is a multiple of eight: only oblique frequencies."""
    out = patches.copy()
    out[:, np.subtract.outer(np.arange(64), 3 * np.arange(64)) % 8 == 0] += 20
    return out


def test_blocks_of_eight_are_seen():
    change = describe(striped(noise())) - describe(noise())
    for colour in range(3):
        assert change[colour * A_COLOUR + EVERY_EIGHTH] > 1


@pytest.mark.parametrize("camera", [demosaiced, striped, checked])
@pytest.mark.parametrize(
    "same",
    [
        lambda x: x[:, ::-1],  # upside down
        lambda x: x[:, :, ::-1],  # mirrored
        lambda x: x.transpose(0, 2, 1, 3),  # turned
        lambda x: x[::-1],  # patches in another order
        lambda x: 255 - x,  # negative
    ],
)
def test_what_says_nothing_about_the_camera_changes_little(same, camera):
    """Not nothing: of 62 residuals in a row, 56 are looked at, and weak amplitudes are chance."""
    patches = camera(noise())
    strong = describe(patches) - describe(noise()) > 1
    assert strong.any()
    np.testing.assert_allclose(describe(same(patches))[strong], describe(patches)[strong], atol=0.4)


def test_where_the_grid_begins_changes_little():
    camera = demosaiced(noise())
    for down, across in ((1, 0), (3, 5)):
        moved = np.roll(camera, (down, across), axis=(1, 2))
        np.testing.assert_allclose(describe(moved)[EVERY_SECOND], describe(camera)[EVERY_SECOND], atol=0.1)


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (1, 32, 32, 3), (64, 64, 64, 3)])
def test_flat_patches_are_finite(shape):
    assert np.isfinite(describe(np.full(shape, 7, np.uint8))).all()
