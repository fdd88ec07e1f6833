"""Signed deliveries, against an in-process transport; the real server is in `integration/test_delivery.py`."""

import hashlib
import hmac
import json
from types import SimpleNamespace

import httpx
import pytest
from pydantic import SecretStr

from pipeline.settings import WebSettings
from workers.tasks import delivery

SETTINGS = WebSettings(webhooks={"main": "http://receiver.test/hook"}, webhook_secret=SecretStr("key"))


def test_signature_is_hmac_of_timestamp_and_body():
    expected = hmac.new(b"key", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert delivery.sign(b'{"a":1}', "key", 1700000000) == f"t=1700000000,v1={expected}"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(200), None),
        (httpx.Response(204), None),
        (httpx.Response(302, headers={"Location": "http://169.254.169.254/"}), "HTTP 302"),  # never followed
        (httpx.Response(500), "HTTP 500"),
        (httpx.ConnectError("refused"), "ConnectError"),
        (httpx.ReadTimeout("slow"), "ReadTimeout"),
    ],
    ids=str,
)
def test_what_counts_as_delivered(answer, error):
    def handler(request):
        if isinstance(answer, Exception):
            raise answer
        return answer

    with httpx.Client(transport=httpx.MockTransport(handler)) as client:
        assert delivery.post(client, a_delivery(), SETTINGS) == error


def test_the_receiver_can_check_what_it_gets():
    seen = []
    with httpx.Client(transport=httpx.MockTransport(lambda r: seen.append(r) or httpx.Response(200))) as client:
        delivery.post(client, a_delivery(), SETTINGS)
    [request] = seen
    timestamp = int(request.headers["Lenswatch-Signature"].partition(",")[0].removeprefix("t="))
    assert request.headers["Lenswatch-Signature"] == delivery.sign(request.content, "key", timestamp)
    assert request.headers["Lenswatch-Delivery"] == "d-1"
    assert json.loads(request.content) == {"verdict": "camera"}
    assert str(request.url) == "http://receiver.test/hook"


def test_a_name_that_is_not_configured_is_never_an_address():
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
        error = delivery.post(client, a_delivery(callback="http://evil.test/"), SETTINGS)
    assert error == "no endpoint of this name is configured"


def test_a_failing_endpoint_is_asked_once_a_round(monkeypatch):
    asked = []
    monkeypatch.setattr(
        delivery, "post", lambda _client, d, _settings: asked.append(d.callback) or f"{d.callback} is away"
    )
    outcome = list(delivery.deliver([a_delivery(callback=name) for name in ("a", "a", "b", "a")], SETTINGS))
    assert asked == ["a", "b"]
    assert [error for _, error in outcome] == ["a is away", "a is away", "b is away", "a is away"]


def a_delivery(callback="main"):
    return SimpleNamespace(delivery_id="d-1", callback=callback, payload={"verdict": "camera"}, attempts=1)
