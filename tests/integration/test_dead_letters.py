"""Dead letters by filter, page and batch, in a terminal and over HTTP; events go back to where they came from."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from pipeline.errors import Conflict
from pipeline.events import MAX_EVENT_BYTES
from pipeline.people import KeyRole
from pipeline.records import Lane, UploadState
from pipeline.store import LetterFilter, Stores
from tests.factories import add_upload, make_event
from tests.integration.test_consumer import drain
from tests.servers import settings_for
from workers.bootstrap import Dependencies
from workers.cli import app as cli
from workers.consumer import Consumer
from workers.keys import key_setting
from workers.replay import replay, replay_all
from workers.stream import StreamFull, StreamUnavailable, stream_name
from workers.web.app import create_app


@pytest.fixture
def environment(fresh_dsn, redis_url):
    return {
        "LENSWATCH_POSTGRES__DSN": fresh_dsn,
        "LENSWATCH_REDIS__URL": redis_url,
        "LENSWATCH_WEB__API_KEYS": json.dumps({"tests": key_setting("key", KeyRole.ADMIN)}),
        "LENSWATCH_WORKER__CONSUMER_BLOCK": "0.05",
    }


@pytest.fixture
def deps(environment):
    with Dependencies(settings_for(**environment)) as deps:
        yield deps


@pytest.fixture
def web(deps):
    with TestClient(create_app(deps.settings), headers={"Authorization": "Bearer key"}) as client:
        yield client


@pytest.fixture
def command(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


@pytest.fixture
def letters(deps):
    """Numbers of two letters of each of two reasons, in turns, and one event that nobody understood."""
    with deps.stores.transaction() as tx:
        for reason in ("ZeroDivisionError", "WorkerLost") * 2:
            tx.results.bury(add_upload(tx).id, stage="moderate", reason=reason, detail="x")
        tx.dead_letters.bury_event(
            stage="event", reason="InvalidEvent", detail="x", payload={"fields": {"event": "{}"}}
        )
        return [letter.id for letter in tx.dead_letters.waiting()]


def waiting(deps, **options):
    with deps.stores.transaction() as tx:
        return [letter.id for letter in tx.dead_letters.waiting(**options)]


def bury(deps, entry, lane=Lane.LIVE):
    """Let the consumer meet an entry that it cannot read; returns the letter's number."""
    deps.redis.xadd(stream_name(deps.settings.redis, lane), entry)
    consume(deps)
    return waiting(deps)[-1]


def consume(deps):
    sent = []
    consumer = Consumer(deps.redis, deps.stores, sent.append, deps.settings)
    consumer.create_groups()
    drain(consumer)
    return sent


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (LetterFilter(), [0, 1, 2, 3, 4]),
        (LetterFilter(reason="WorkerLost"), [1, 3]),
        (LetterFilter(stage="event"), [4]),
        (LetterFilter(reason="WorkerLost", stage="event"), []),
        (LetterFilter(since=datetime.now(UTC) - timedelta(hours=1)), [0, 1, 2, 3, 4]),
        (LetterFilter(since=datetime.now(UTC) + timedelta(hours=1)), []),
    ],
)
def test_filters(deps, letters, which, expected):
    assert waiting(deps, which=which) == [letters[place] for place in expected]


def test_pages(web, letters):
    first = web.get("/v1/dead-letters", params={"limit": 2}).json()
    second = web.get("/v1/dead-letters", params={"limit": 9, "after": first[-1]["id"]}).json()
    assert [letter["id"] for letter in first + second] == letters
    [only] = web.get("/v1/dead-letters", params={"reason": "WorkerLost", "after": letters[1]}).json()
    assert only["id"] == letters[3]
    assert web.get("/v1/dead-letters", params={"since": "2999-01-01T00:00:00Z"}).json() == []
    assert web.get("/v1/dead-letters", params={"since": "yesterday"}).status_code == 422


def test_one_letter(web, letters):
    assert web.get(f"/v1/dead-letters/{letters[4]}").json()["payload"] == {"fields": {"event": "{}"}}
    assert web.get("/v1/dead-letters/999").status_code == 404


def test_all_of_a_reason_over_http(web, deps, letters):
    body = {"actor": "ann", "reason": "WorkerLost", "limit": 1}
    first = web.post("/v1/dead-letters/replay", json=body).json()
    assert ([one["letter_id"] for one in first["replayed"]], first["last"]) == ([letters[1]], letters[1])
    second = web.post("/v1/dead-letters/replay", json=body | {"after": first["last"]}).json()
    third = web.post("/v1/dead-letters/replay", json=body | {"after": second["last"]}).json()
    assert third == {"replayed": [], "last": None}
    assert waiting(deps) == [letters[0], letters[2], letters[4]]


def test_all_in_batches(deps, letters, monkeypatch):
    monkeypatch.setattr("workers.replay.replay_batch.__kwdefaults__", {"after": 0, "limit": 2})
    sizes = [len(batch) for batch in replay_all(deps, LetterFilter(), actor="ann")]
    assert sizes == [2, 2, 1]
    assert waiting(deps) == []
    assert len(deps.redis.lrange("lenswatch.live", 0, -1)) == 4


def test_in_a_terminal(command, deps, letters):
    listed = command("dead", "list", "--reason", "WorkerLost", "--after", str(letters[1])).output
    assert listed.count("WorkerLost") == 1
    assert "ZeroDivisionError" not in listed
    assert command("dead", "list", "--since", "2999-01-01").output.count("moderate") == 0
    done = command("dead", "replay", "--all", "--reason", "WorkerLost", "--actor", "ann")
    assert done.output.count("is queued") == 2
    assert waiting(deps) == [letters[0], letters[2], letters[4]]
    assert "is entry" in command("dead", "replay", str(letters[4])).output


@pytest.mark.parametrize("arguments", [[], ["1", "--all"], ["1", "--reason", "x"], ["--reason", "x"]])
def test_a_replay_says_what_it_means(command, letters, arguments):
    assert command("dead", "replay", *arguments).exit_code == 2


def test_an_event_goes_back_on_its_stream_and_is_taken_once_its_bucket_is_configured(deps):
    event = make_event(bucket="new", lane=Lane.BACKFILL)
    letter = bury(deps, {"event": event.model_dump_json()}, Lane.BACKFILL)
    [replayed] = replay(deps, [letter], actor="ann")
    assert deps.redis.xlen(stream_name(deps.settings.redis, Lane.BACKFILL)) == 1
    assert consume(deps) == []
    again = waiting(deps)  # still refused: a new letter
    assert again != [letter]
    assert len(again) == 1
    s3 = deps.settings.s3.model_copy(update={"buckets": ("uploads", "new")})
    deps.settings = deps.settings.model_copy(update={"s3": s3})
    replay(deps, again, actor="ann")
    [upload] = consume(deps)
    assert upload.event == event
    assert waiting(deps) == []
    assert replayed.entry_id


def test_an_event_that_was_not_kept_whole_cannot_be_done_again_and_stops_no_other(deps, letters):
    letter = bury(deps, {"event": "x" * (MAX_EVENT_BYTES + 1)})
    with pytest.raises(Conflict, match="as it was"):
        replay(deps, [letter], actor="ann")
    list(replay_all(deps, LetterFilter(), actor="ann"))
    assert waiting(deps) == [letter]


@pytest.mark.parametrize("error", [StreamFull, StreamUnavailable])
def test_a_letter_stays_open_where_its_event_cannot_be_put_back(deps, error, monkeypatch):
    letter = bury(deps, {"event": "{}"})
    if error is StreamFull:
        redis = deps.settings.redis.model_copy(update={"stream_max_length": 1})
        deps.settings = deps.settings.model_copy(update={"redis": redis})
        deps.redis.xadd(stream_name(redis, Lane.LIVE), {"event": "{}"})
    else:
        monkeypatch.setattr(deps.redis, "xadd", lambda *_: (_ for _ in ()).throw(StreamUnavailable("told to")))
    with pytest.raises(error):
        replay(deps, [letter], actor="ann")
    assert waiting(deps) == [letter]


def test_all_or_none(deps, letters):
    with deps.stores.transaction() as tx:
        tx.dead_letters.drop(letters[3], actor="bob")
    with pytest.raises(Conflict):
        replay(deps, letters[:4], actor="ann")
    assert waiting(deps) == [*letters[:3], letters[4]]


def test_a_replayed_upload_has_all_its_patience_again(deps: Dependencies):
    stores: Stores = deps.stores
    with stores.transaction() as tx:
        upload = add_upload(tx)
        tx.uploads.begin_attempt(upload.id)
        tx.uploads.postpone(upload.id, not_before=datetime(2020, 1, 1, tzinfo=UTC), error="x")
        tx.results.bury(upload.id, stage="moderate", reason="ObjectStoreUnavailable", detail="AccessDenied")
        [letter] = tx.dead_letters.waiting()
    replay(deps, [letter.id], actor="ann")
    with stores.transaction() as tx:
        again = tx.uploads.get(upload.id)
    assert (again.state, again.attempts, again.postponements) == (UploadState.QUEUED, 0, 0)
    assert again.queued_at > upload.queued_at
