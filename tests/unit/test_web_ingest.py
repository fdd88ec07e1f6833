"""The HTTP doors without servers: keys, limits, problems. The real Redis is in `integration/test_doors.py`."""

from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.settings import RedisSettings, Settings, WebSettings
from tests.unit.test_stream import Streams
from workers.stream import StreamUnavailable
from workers.web.app import create_app
from workers.web.limits import MAX_BODY

SETTINGS = Settings(
    _env_file=None,
    web=WebSettings(api_keys=(SecretStr("first"), SecretStr("second")), webhooks={"main": "http://receiver.test"}),
    redis=RedisSettings(stream_max_length=2),
)
EVENT = {"event_id": "e1", "bucket": "uploads", "key": "a.jpg", "uploaded_at": "2026-01-01T00:00:00Z"}
KEY = {"Authorization": "Bearer second"}


@pytest.fixture
def streams():
    return Streams()


@pytest.fixture
def client(streams):
    app = create_app(SETTINGS)
    app.state.dependencies = SimpleNamespace(settings=SETTINGS, redis=streams)
    return TestClient(app, raise_server_exceptions=False)  # outside `with`: the lifespan would connect


def test_an_event_is_taken(client, streams):
    answer = client.post("/v1/uploads", json=EVENT, headers=KEY)
    assert (answer.status_code, answer.json()) == (202, {"event_id": "e1", "entry_id": "1-0"})
    assert streams.xlen("lenswatch:uploads:live") == 1


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDpzZWNvbmQ="}, {"Authorization": "Bearer "}],
)
def test_nothing_is_taken_without_a_key(client, streams, headers):
    answer = client.post("/v1/uploads", json=EVENT, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert_problem(answer, "unauthorized")
    assert not streams.entries


def test_without_configured_keys_every_call_is_refused():
    settings = SETTINGS.model_copy(update={"web": WebSettings()})
    app = create_app(settings)
    assert TestClient(app).post("/v1/uploads", json=EVENT, headers={"Authorization": "Bearer "}).status_code == 401


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"bucket": "other"}, 403, "bucket_not_allowed"),
        ({"callback": "nobody"}, 422, "invalid_event"),  # a name that no webhook has
        ({"callback": "http://evil.test"}, 422, "invalid_request"),  # no address at all
        ({"url": "http://evil.test"}, 422, "invalid_request"),  # an unknown field
        ({"key": ""}, 422, "invalid_request"),
        ({"uploaded_at": "2026-01-01T00:00:00"}, 422, "invalid_request"),  # no time zone
    ],
)
def test_what_is_wrong_with_an_event_is_said(client, streams, change, status, code):
    answer = client.post("/v1/uploads", json=EVENT | change, headers=KEY)
    assert answer.status_code == status
    assert_problem(answer, code)
    assert not streams.entries


def test_a_full_stream_pushes_back(client):
    for _ in range(2):
        assert client.post("/v1/uploads", json=EVENT, headers=KEY).status_code == 202
    answer = client.post("/v1/uploads", json=EVENT, headers=KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert_problem(answer, "stream_full")


def test_a_redis_that_is_away_pushes_back_and_tells_nothing(client, streams, monkeypatch):
    def away(_stream):
        raise StreamUnavailable("redis at 10.0.0.7 refused")

    monkeypatch.setattr(streams, "xlen", away)
    answer = client.post("/v1/uploads", json=EVENT, headers=KEY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "10.0.0.7" not in answer.text


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_a_body_has_a_limit(client, streams, announced):
    body = b'{"event_id": "' + b"x" * MAX_BODY + b'"}'
    content = body if announced else iter([body[: MAX_BODY // 2], body[MAX_BODY // 2 :]])
    answer = client.post("/v1/uploads", content=content, headers=KEY | {"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert not streams.entries


def test_a_notification_gets_surface_and_lane_from_the_url(client, streams):
    payload = {"Records": [record("a+b%C3%A4.jpg"), record("gone.jpg", "ObjectRemoved:Delete")]}
    answer = client.post("/v1/hooks/s3?surface=avatars&lane=rescore", json=payload, headers=KEY)
    assert answer.status_code == 202
    assert len(answer.json()["accepted"]) == 1
    [entry] = streams.entries["lenswatch:uploads:rescore"]
    assert '"key":"a bä.jpg"' in entry["event"]
    assert '"surface":"avatars"' in entry["event"]


def test_a_notification_of_another_bucket_is_refused(client, streams):
    answer = client.post("/v1/hooks/s3", json={"Records": [record("a.jpg", bucket="other")]}, headers=KEY)
    assert answer.status_code == 403
    assert not streams.entries


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
