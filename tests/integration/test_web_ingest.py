"""The HTTP doors on a real Redis: keys, signatures, limits, problems. What comes of an event: `test_doors.py`."""

from __future__ import annotations

import json
import re
import time

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from pipeline.settings import RedisSettings, Settings, WebSettings
from workers import metrics
from workers.keys import hash_key
from workers.lanes import queue_name
from workers.signature import sign
from workers.stream import connect
from workers.web.app import create_app
from workers.web.limits import MAX_BODY

SECRET = "a secret of the sender"
WEB = WebSettings(
    api_keys={"first": hash_key("key 1"), "second": hash_key("key 2")},
    door_secrets={"signer": SECRET},
    webhooks={"main": "http://receiver.test"},
)
EVENT = {"event_id": "e1", "bucket": "uploads", "key": "a.jpg", "uploaded_at": "2026-01-01T00:00:00Z"}
BODY = json.dumps(EVENT).encode()
KEY = {"Authorization": "Bearer key 2"}
LIVE, RESCORE = "lenswatch:uploads:live", "lenswatch:uploads:rescore"


@pytest.fixture
def settings(redis_url):
    return Settings(_env_file=None, web=WEB, redis=RedisSettings(url=redis_url, stream_max_length=2))


@pytest.fixture
def streams(settings):
    with connect(settings.redis) as client:
        yield client


@pytest.fixture
def client(settings):
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_an_event_is_taken_and_counted_under_its_keys_name(client, streams):
    counted = metrics.EVENTS_ACCEPTED.labels("http", "live", "second")._value
    before = counted.get()
    answer = client.post("/v1/uploads", json=EVENT, headers=KEY)
    [(entry_id, _)] = streams.xrange(LIVE)
    assert (answer.status_code, answer.json()) == (202, {"event_id": "e1", "entry_id": entry_id})
    assert counted.get() == before + 1


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDprZXkgMg=="}, {"Authorization": "Bearer "}],
)
def test_nothing_is_taken_without_a_key(client, streams, headers):
    answer = client.post("/v1/uploads", json=EVENT, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert_problem(answer, "unauthorized")
    assert streams.keys() == []


def test_all_but_these_routes_need_a_key(client):
    described = client.get("/openapi.json").json()["paths"]
    calls = [(method, path) for path, methods in described.items() for method in methods] + [("get", "/")]
    parameter = re.compile(r"\{\w+(:path)?\}")
    open_to_all = {
        path for method, path in calls if client.request(method, parameter.sub("1", path)).status_code != 401
    }
    assert open_to_all == {"/healthz", "/readyz", "/metrics", "/v1/schemas/upload-event"}


def test_without_configured_keys_every_call_is_refused():
    app = create_app(Settings(_env_file=None))
    assert TestClient(app).post("/v1/uploads", json=EVENT, headers={"Authorization": "Bearer "}).status_code == 401


def signed(body=BODY, *, secret=SECRET, name="signer", age=0):
    signature = sign(body, [secret], int(time.time()) - age)
    return {"Lenswatch-Key": name, "Lenswatch-Signature": signature, "Content-Type": "application/json"}


def test_a_signed_event_is_taken(client, streams):
    assert client.post("/v1/uploads", content=BODY, headers=signed()).status_code == 202
    assert streams.xlen(LIVE) == 1


@pytest.mark.parametrize(
    "headers",
    [
        signed(b"{}"),
        signed(secret="a secret of another"),
        signed(name="first"),  # a key is no secret, nor the other way round
        signed(name="nobody"),
        signed(age=301),
        signed(age=-86_400),  # from when the test is collected on
        signed() | {"Lenswatch-Signature": "t=\u00b2,v1="},
        signed() | {"Lenswatch-Signature": "nonsense"} | KEY,  # what is signed wrongly is not let in by a key
        {"Authorization": f"Bearer {SECRET}"},
    ],
    ids=["body", "secret", "key name", "name", "old", "future", "not ascii", "nonsense", "secret as key"],
)
def test_what_is_not_signed_rightly_is_refused(client, streams, headers):
    headers = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = client.post("/v1/uploads", content=BODY, headers=headers)
    assert answer.status_code == 401
    assert streams.keys() == []


def test_only_the_doors_take_signatures(client):
    assert client.get("/v1/review", headers=signed(b"")).status_code == 401


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"bucket": "other"}, 403, "bucket_not_allowed"),
        ({"callback": "nobody"}, 422, "invalid_event"),  # a name that no webhook has
        ({"callback": "http://evil.test"}, 422, "invalid_event"),  # no address at all
        ({"url": "http://evil.test"}, 422, "invalid_event"),  # an unknown field
        ({"key": ""}, 422, "invalid_event"),
        ({"uploaded_at": "2026-01-01T00:00:00"}, 422, "invalid_event"),  # no time zone
    ],
)
def test_what_is_wrong_with_an_event_is_said(client, streams, change, status, code):
    answer = client.post("/v1/uploads", json=EVENT | change, headers=KEY)
    assert answer.status_code == status
    assert_problem(answer, code)
    assert streams.keys() == []


def test_a_full_lane_pushes_back(client, streams):
    streams.rpush(queue_name("live"), "task")
    assert client.post("/v1/uploads", json=EVENT, headers=KEY).status_code == 202
    answer = client.post("/v1/uploads", json=EVENT, headers=KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert_problem(answer, "stream_full")
    assert "lane live" in answer.json()["detail"]


def test_a_key_that_sends_too_much_is_told_when_to_come_back(settings, streams):
    slow = settings.model_copy(update={"web": WEB.model_copy(update={"events_per_second": 0.4, "events_burst": 1})})
    with TestClient(create_app(slow)) as client, capture_logs() as lines:
        assert client.post("/v1/uploads", json=EVENT, headers=KEY).status_code == 202
        answer = client.post("/v1/uploads", json=EVENT, headers=KEY)
        assert client.post("/v1/uploads", json=EVENT, headers={"Authorization": "Bearer key 1"}).status_code == 202
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert_problem(answer, "rate_limited")
    assert [line["reason"] for line in lines if line["event"] == "request_refused"] == ["rate_limited"]


def test_a_redis_that_is_away_pushes_back_and_tells_nothing(settings):
    away = settings.model_copy(update={"redis": RedisSettings(url="redis://127.0.0.1:1/0")})
    with TestClient(create_app(away)) as client:
        answer = client.post("/v1/uploads", json=EVENT, headers=KEY)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "127.0.0.1" not in answer.text
        assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_a_body_has_a_limit(client, streams, announced):
    body = b'{"event_id": "' + b"x" * MAX_BODY + b'"}'
    content = body if announced else iter([body[: MAX_BODY // 2], body[MAX_BODY // 2 :]])
    answer = client.post("/v1/uploads", content=content, headers=KEY | {"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert streams.keys() == []


def test_a_notification_gets_surface_and_lane_from_the_url(client, streams):
    payload = {"Records": [record("a+b%C3%A4.jpg"), record("seen.jpg", "ObjectAccessed:Get")]}
    answer = client.post("/v1/hooks/s3?surface=avatars&lane=rescore", json=payload, headers=KEY)
    assert answer.status_code == 202
    assert len(answer.json()["accepted"]) == 1
    [(_, entry)] = streams.xrange(RESCORE)
    assert '"key":"a bä.jpg"' in entry["event"]
    assert '"surface":"avatars"' in entry["event"]


def test_a_notification_of_another_bucket_is_refused(client, streams):
    answer = client.post("/v1/hooks/s3", json={"Records": [record("a.jpg", bucket="other")]}, headers=KEY)
    assert answer.status_code == 403
    assert streams.keys() == []


@pytest.mark.parametrize("path", ["/healthz", "/", "/v1/review", "/static/desk.css", "/no such page"])
def test_browsers_are_told_to_keep_to_themselves(client, path):
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]


def test_no_page_runs_scripts_of_another_server(client):
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_the_schema_is_open_and_current(client):
    assert client.get("/v1/schemas/upload-event").json()["title"] == "UploadEvent"


def test_the_api_describes_itself(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/uploads", "/v1/hooks/s3", "/v1/verdicts/{event_id}", "/v1/review", "/v1/dead-letters"} <= set(paths)
    refused = paths["/v1/uploads"]["post"]["responses"]["503"]["content"]
    assert list(refused) == ["application/problem+json"]


def record(key, name="ObjectCreated:Put", bucket="uploads"):
    stored = {"key": key, "size": 1, "eTag": "0123", "sequencer": "0055AED6DCD90281E5"}
    return {
        "eventName": name,
        "eventTime": "2026-01-01T00:00:00.000Z",
        "s3": {"bucket": {"name": bucket}, "object": stored},
    }


def assert_problem(answer, code):
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:lenswatch:problem:{code}"
    assert answer.json()["status"] == answer.status_code
