"""What Triton may answer, and whose fault that is. The real server is in `integration/test_triton.py`."""

from __future__ import annotations

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from pipeline.adapters.triton import BINARY, STUB_DIED, TritonClient
from pipeline.errors import DetectorConfused, DetectorUnavailable, RetryableError
from pipeline.settings import TritonSettings

PATCHES = np.zeros((1, 64, 64, 3), dtype=np.uint8)


class Answer:
    def __init__(self, value):
        self._value = value

    def as_numpy(self, _name):
        return np.array([[self._value]], dtype=np.float32)


@pytest.fixture
def ask(monkeypatch):
    client = TritonClient(TritonSettings(url="127.0.0.1:9", timeout=1))

    def ask(result, error=None):
        def async_infer(_model, _inputs, callback, **_options):
            callback(result, error)

        monkeypatch.setattr(client._client, "async_infer", async_infer)
        return client.infer(BINARY, 1, PATCHES, ["AI_PROBABILITY"])

    yield ask
    client.close()


def test_a_number(ask):
    assert ask(Answer(0.25)) == [[0.25]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_may_be_the_images_fault(ask, value):
    with pytest.raises(DetectorConfused) as caught:
        ask(Answer(value))
    assert not isinstance(caught.value, RetryableError)


@pytest.mark.parametrize(
    "message",
    [
        "Stub process 'sdaie_binary_0' is not healthy.",
        "Stub process is not healthy.",
        "Failed to obtain the health mutex.",
    ],
)
def test_what_triton_says_of_a_dead_network(message):
    """In 2.51 (its Python backend's strings); the first was seen, the others are rarer."""
    assert STUB_DIED.search(f"Failed to process the request(s), message: {message}")


@pytest.mark.parametrize(
    "message",
    [
        "Request for unknown model: 'sdaie_binary' version 7 is not at ready state",
        "Request for unknown model: 'sdaie_binary' is not found",
        "Exceeds maximum queue size",
        "Request timeout expired",
    ],
)
def test_a_server_that_refuses_is_an_outage(ask, message):
    with pytest.raises(DetectorUnavailable):
        ask(None, InferenceServerException(message, "StatusCode.UNAVAILABLE"))
