"""Signed deliveries, against an in-process transport; the real server is in `integration/test_delivery.py`."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from pipeline.settings import WebSettings
from workers.signature import is_valid
from workers.tasks import delivery

SECRET = "shared with them"
SETTINGS = WebSettings(webhooks={"main": "http://receiver.test/hook"}, webhook_secrets=(SECRET,))


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
        failure = delivery.post(client, a_delivery(), SETTINGS)
    assert (failure and failure.error) == error


def test_the_receiver_can_check_what_it_gets():
    seen = []
    with httpx.Client(transport=httpx.MockTransport(lambda r: seen.append(r) or httpx.Response(200))) as client:
        delivery.post(client, a_delivery(), SETTINGS)
    [request] = seen
    assert is_valid(request.headers["Lenswatch-Signature"], request.content, SECRET, now=now(), window=60)
    assert request.headers["Lenswatch-Delivery"] == "d-1"
    assert json.loads(request.content) == {"verdict": "camera"}
    assert str(request.url) == "http://receiver.test/hook"


def test_a_name_that_is_not_configured_is_never_an_address():
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client:
        failure = delivery.post(client, a_delivery(callback="http://evil.test/"), SETTINGS)
    assert failure == delivery.Failure("no endpoint of this name is configured")


def test_while_a_secret_is_replaced_both_sign():
    seen = []
    both = SETTINGS.model_copy(update={"webhook_secrets": (*SETTINGS.webhook_secrets, SecretStr("the one before"))})
    with httpx.Client(transport=httpx.MockTransport(lambda r: seen.append(r) or httpx.Response(200))) as client:
        delivery.post(client, a_delivery(), both)
    for secret in (SECRET, "the one before"):
        assert is_valid(seen[0].headers["Lenswatch-Signature"], seen[0].content, secret, now=now(), window=60)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://x/", "no url", "//host/path"])
def test_a_webhook_must_have_an_http_url(url):
    with pytest.raises(ValidationError):
        WebSettings(webhooks={"main": url})


def test_an_endless_answer_is_not_read():
    def endless():
        yield b"x" * 100
        pytest.fail("the body was read")

    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=endless()))) as client:
        assert delivery.post(client, a_delivery(), SETTINGS) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("120", 120),
        ("-5", 0),
        ("9" * 400, 86_400),
        ("soon", 0),
        ("\u00b2", 0),
        (timedelta(hours=1), 3600),
        (timedelta(hours=-1), 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("Fri, 31 Dec 9999 23:59:59", 0),
    ],
)
def test_a_receiver_may_ask_to_be_left_alone(value, seconds):
    if isinstance(value, timedelta):  # a date so far from now
        value = format_datetime(datetime.now(UTC) + value, usegmt=True)
    answer = httpx.Response(503, headers=[(b"Retry-After", value.encode("latin-1"))])
    with httpx.Client(transport=httpx.MockTransport(lambda _: answer)) as client:
        failure = delivery.post(client, a_delivery(), SETTINGS)
    assert failure.retry_after.total_seconds() == pytest.approx(seconds, abs=5)


@given(value=st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")))
def test_no_retry_after_breaks_the_sender(value):
    assert timedelta(0) <= delivery._retry_after(value) <= delivery.LONGEST_RETRY_AFTER


def test_tries_thin_out_and_go_on_for_days():
    waits = [delivery.backoff(attempts) for attempts in range(1, 101)]
    assert timedelta(seconds=2.5) <= waits[0] <= timedelta(seconds=5)
    assert all(timedelta(minutes=30) <= wait <= timedelta(hours=1) for wait in waits[15:])
    assert len(set(waits[15:])) > 1  # at random, or all of them would come back at once
    assert delivery.backoff(10**6) <= timedelta(hours=1)
    assert WebSettings().webhook_patience >= timedelta(days=3)


def test_a_failing_endpoint_is_asked_once_a_round(monkeypatch):
    asked = []
    monkeypatch.setattr(
        delivery, "post", lambda _client, d, _settings: asked.append(d.callback) or delivery.Failure(d.callback)
    )
    outcome = list(delivery.deliver([a_delivery(callback=name) for name in ("a", "a", "b", "a")], SETTINGS))
    assert asked == ["a", "b"]
    assert [failure.error for _, failure in outcome] == ["a", "a", "b", "a"]


def now():
    return datetime.now(UTC).timestamp()


def a_delivery(callback="main"):
    return SimpleNamespace(delivery_id="d-1", callback=callback, payload={"verdict": "camera"}, attempts=1)
