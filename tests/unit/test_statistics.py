"""What is said of patches without a network: where it lies, that it is said at two scales, of one place at a time."""

import numpy as np
import pytest

from pipeline import cooccurrence, periods, self_description
from pipeline.records import SELF_DESCRIPTION_DIM
from pipeline.statistics import COOCCURRENCES, DIMENSIONS, RESIDUALS, describe, halved, self_described
from pipeline.windows import TOGETHER


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


def soft_noise(count, seed=0, deviation=6.0):
    return np.random.default_rng(seed).normal(128, deviation, (count, 64, 64, 3)).clip(0, 255).astype(np.uint8)


def test_halved_is_the_mean_of_two_by_two_pixels(noise):
    means = noise.reshape(5, 32, 2, 32, 2, 3).mean((2, 4))
    half = halved(noise)
    assert half.shape == means.shape
    assert half.dtype == np.uint8
    assert np.abs(half - means).max() <= 0.5
    assert abs((half - means).mean()) < 0.01  # halves do not all go up: that would brighten every image


def test_every_part_at_both_scales(noise):
    statistics, half = describe(noise), halved(noise)
    assert statistics.shape == (DIMENSIONS,)
    assert self_described(statistics).shape == (SELF_DESCRIPTION_DIM,)
    assert statistics.dtype == np.float32
    for found, part in (
        (statistics[:COOCCURRENCES], cooccurrence),
        (statistics[COOCCURRENCES:RESIDUALS], periods),
        (statistics[RESIDUALS:], self_description),
        (self_described(statistics), self_description),
    ):
        np.testing.assert_array_equal(found, [*part.describe(noise), *part.describe(half)])


@pytest.mark.parametrize("count", [17, 23, 24, 31, 40, 64])
def test_an_image_of_many_patches_is_no_stranger_than_one_of_sixteen(count):
    """All of 64 averaged at once, periods that are chance would be smaller by 0.5 in logarithms."""

    def mean_period(patches, seed):
        return describe(soft_noise(patches, seed))[COOCCURRENCES:RESIDUALS].mean()

    few = np.mean([mean_period(TOGETHER, seed) for seed in range(20)])
    many = np.mean([mean_period(count, 100 + seed) for seed in range(10)])
    assert many == pytest.approx(few, abs=0.05)


def test_two_places_of_a_picture_are_described_one_by_one():
    """A histogram of both at once is like neither."""
    calm, rough = soft_noise(TOGETHER, deviation=1), soft_noise(TOGETHER, deviation=12)
    alone = [describe(place) for place in (calm, rough)]
    np.testing.assert_allclose(describe(np.concatenate([calm, rough])), (alone[0] + alone[1]) / 2, atol=1e-6)
