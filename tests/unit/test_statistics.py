"""What is said of patches without a network: where it lies, and that it is said at two scales."""

import numpy as np
import pytest

from pipeline import cooccurrence, periods, self_description
from pipeline.records import SELF_DESCRIPTION_DIM
from pipeline.statistics import COOCCURRENCES, DIMENSIONS, RESIDUALS, SELF_DESCRIPTION, describe, halved


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


def test_halved_is_the_mean_of_two_by_two_pixels(noise):
    means = noise.reshape(5, 32, 2, 32, 2, 3).mean((2, 4))
    half = halved(noise)
    assert half.shape == means.shape
    assert half.dtype == np.uint8
    assert np.abs(half - means).max() <= 0.5
    assert abs((half - means).mean()) < 0.01  # halves do not all go up: that would brighten every image


def test_every_part_at_both_scales(noise):
    described, half = describe(noise), halved(noise)
    assert described.shape == (DIMENSIONS,)
    assert described.dtype == np.float32
    assert len(described[SELF_DESCRIPTION]) == SELF_DESCRIPTION_DIM
    for found, part in (
        (described[:COOCCURRENCES], cooccurrence),
        (described[COOCCURRENCES:RESIDUALS], periods),
        (described[SELF_DESCRIPTION], self_description),
    ):
        np.testing.assert_array_equal(found, [*part.describe(noise), *part.describe(half)])
