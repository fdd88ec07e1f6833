"""The read-out of residual statistics: its arithmetic, and its archive."""

import io

import numpy as np
import pytest

from pipeline.read_out import ReadOut
from pipeline.records import Handling
from pipeline.statistics import DIMENSIONS
from tests.synthetic import silent_read_out


def make(joint):
    mean, scale = np.full(DIMENSIONS, 0.5), np.full(DIMENSIONS, 2.0)
    weights = np.zeros(DIMENSIONS)
    weights[3] = 4.0
    handling = np.zeros((DIMENSIONS + 1, len(Handling)))
    handling[5, Handling.SOFT], handling[-1, Handling.HANDLED] = 1.0, 0.5
    return ReadOut(mean, scale, weights, np.array([-1.0]), np.array(joint), handling)


def test_statistics_logit():
    statistics = np.full((2, DIMENSIONS), 0.5)
    statistics[1, 3] = 2.5
    np.testing.assert_allclose(make([0, 1, 0]).statistics_logit(statistics), [-1.0, 3.0])


def test_both_opinions_are_added_as_logits():
    statistics = np.full(DIMENSIONS, 0.5)  # logit -1
    probability = make([2.0, 0.5, 0.25]).probability(np.array(0.9), statistics)
    assert float(probability) == pytest.approx(1 / (1 + np.exp(-(2 * np.log(9) - 0.5 + 0.25))))


def test_a_silent_read_out_leaves_the_network_alone():
    assert float(silent_read_out().probability(np.array(0.3), np.ones(DIMENSIONS))) == pytest.approx(0.3)


def test_handling_is_told_from_the_statistics():
    statistics = np.full((2, DIMENSIONS), 0.5)
    statistics[1, 5] = 2.5  # a standardised 1
    probabilities = make([0, 1, 0]).handling_probabilities(statistics)
    weights = np.exp([[0, 0.5, 0], [0, 0.5, 1]])
    np.testing.assert_allclose(probabilities, weights / weights.sum(1, keepdims=True))


def test_archive_keeps_every_array():
    first = make([1.0, 2.0, 3.0])
    again = ReadOut.from_bytes(first.to_bytes())
    for name in ("mean", "scale", "weights", "bias", "joint", "handling"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))


def test_archive_without_an_array_is_refused():
    buffer = io.BytesIO()
    np.savez(buffer, mean=np.zeros(3))
    with pytest.raises(ValueError, match="lacks"):
        ReadOut.from_bytes(buffer.getvalue())
