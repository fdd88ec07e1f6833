"""The residual bank, filter by filter as the paper describes it."""

import numpy as np
import pytest

from pipeline.highpass import BANK, residuals


def test_every_filter_sums_to_zero():
    assert BANK.shape == (30, 5, 5)
    assert BANK.dtype == np.float32
    np.testing.assert_allclose(BANK.sum((1, 2)), 0, atol=1e-6)


def test_no_two_filters_are_alike():
    assert len({f.tobytes() for f in BANK}) == 30


@pytest.mark.parametrize(
    ("number", "taps", "divisor"),  # taps at (row, column) in the 5x5
    [
        (0, {(2, 2): -1, (1, 1): 1}, 1),  # first order, NW
        (3, {(2, 2): -1, (2, 1): 1}, 1),  # first order, W
        (7, {(2, 2): -1, (3, 3): 1}, 1),  # first order, SE
        (9, {(1, 2): 1, (2, 2): -2, (3, 2): 1}, 2),  # second order, N and S
        (13, {(0, 2): -1, (1, 2): 3, (2, 2): -3, (3, 2): 1}, 3),  # third order, N
        (15, {(2, 4): -1, (2, 3): 3, (2, 2): -3, (2, 1): 1}, 3),  # third order, E
        (19, {(2, 0): -1, (2, 1): 3, (2, 2): -3, (2, 3): 1}, 3),  # third order, W
        (20, {(1, 1): -1, (1, 2): 2, (1, 3): -1, (2, 1): 2, (2, 2): -4, (2, 3): 2}, 4),  # edge 3x3, top
        (21, {(1, 2): 2, (1, 3): -1, (2, 2): -4, (2, 3): 2, (3, 2): 2, (3, 3): -1}, 4),  # edge 3x3, right
    ],
)
def test_filter(number, taps, divisor):
    expected = np.zeros((5, 5))
    for place, value in taps.items():
        expected[place] = value / divisor
    np.testing.assert_allclose(BANK[number], expected, atol=1e-7)


def test_left_edge_filter_is_the_mirrored_right_one():
    np.testing.assert_array_equal(BANK[27], BANK[25][:, ::-1])
    assert not BANK[27][:, 3:].any()
    np.testing.assert_allclose(BANK[29][2, 2], -1)  # the whole KV kernel: -12 / 12


def test_residuals_are_channel_major_and_not_flipped():
    image = np.zeros((6, 7, 3), np.float32)
    image[3, 3, 1] = 1  # green
    maps = residuals(image)
    assert maps.shape == (90, 6, 7)
    assert not maps[:30].any()
    assert not maps[60:].any()
    assert maps[30][4, 4] == 1  # first-order NW filter: the pixel to the south-east sees it
    assert maps[30][3, 3] == -1


def test_a_flat_area_has_no_residual_away_from_the_border():
    flat = np.full((9, 9, 1), 100, np.float32)
    np.testing.assert_allclose(residuals(flat)[:, 2:-2, 2:-2], 0, atol=1e-3)
