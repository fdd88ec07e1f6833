"""Stream -> ledger -> task, against a real Redis and Postgres."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from pipeline.errors import StoreUnavailable
from pipeline.records import Lane, UploadEvent, UploadState
from pipeline.settings import Settings, WorkerSettings
from pipeline.store import Stores, uploads
from tests.servers import settings_for
from workers.consumer import Consumer
from workers.stream import GROUP, StreamUnavailable, connect, stream_name, submit

QUICK = WorkerSettings(consumer_block=0.05, reclaim_idle=timedelta(milliseconds=1))


@pytest.fixture
def settings(fresh_dsn, redis_url) -> Settings:
    said = settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn, LENSWATCH_REDIS__URL=redis_url)
    return said.model_copy(update={"worker": QUICK})


@pytest.fixture
def client(settings):
    with connect(settings.redis) as client:
        yield client


@pytest.fixture
def stores(settings):
    stores = Stores(settings.postgres)
    yield stores
    stores.close()


@pytest.fixture
def sent():
    """Uploads whose task was sent, in order."""
    return []


@pytest.fixture
def consumer(client, stores, sent, settings):
    consumer = Consumer(client, stores, sent.append, settings, name="one")
    consumer.create_groups()
    return consumer


def an_event(key="a.jpg", lane=Lane.LIVE, **fields):
    fields = {"event_id": f"id-of-{key}", "bucket": "uploads", "etag": "e1", **fields}
    return UploadEvent(key=key, lane=lane, uploaded_at=datetime(2026, 1, 1, tzinfo=UTC), **fields)


def drain(consumer):
    while consumer.step():
        pass


def waiting(client, settings):
    """Entries left in the streams, and those read but not acknowledged."""
    streams = [stream_name(settings.redis, lane) for lane in Lane]
    return sum(client.xlen(s) for s in streams), sum(client.xpending(s, GROUP)["pending"] for s in streams)


def letters(stores):
    with stores.transaction() as transaction:
        return transaction.dead_letters.waiting()


def test_an_event_becomes_a_row_and_a_task_and_leaves_the_stream(consumer, client, stores, sent, settings):
    submit(client, settings, an_event(), door="test")
    drain(consumer)
    [upload] = sent
    assert upload.event == an_event()
    with stores.transaction() as transaction:
        assert transaction.uploads.get(upload.id).state is UploadState.QUEUED
    assert waiting(client, settings) == (0, 0)


def test_the_same_event_three_times_is_one_row_and_one_task(consumer, client, stores, sent, settings):
    for _ in range(3):
        submit(client, settings, an_event(), door="test")
    drain(consumer)
    submit(client, settings, an_event(), door="test")
    drain(consumer)
    assert len(sent) == 1
    with stores.transaction() as transaction:
        assert transaction.uploads.backlog()[Lane.LIVE].count == 1
    assert waiting(client, settings) == (0, 0)


def test_a_deletion_closes_what_it_finds_and_needs_no_task(consumer, client, stores, sent, settings):
    submit(client, settings, an_event(sequencer="01"), door="test")
    gone = an_event(kind="deleted", event_id="gone", etag=None, sequencer="02", lane=Lane.BACKFILL)
    for _ in range(2):
        submit(client, settings, gone, door="test")
    drain(consumer)
    [upload] = sent
    with stores.transaction() as transaction:
        assert transaction.uploads.get(upload.id).deleted_at == gone.uploaded_at
    assert waiting(client, settings) == (0, 0)


def test_an_object_that_is_put_again_gets_a_task_again(consumer, client, stores, sent, settings):
    submit(client, settings, an_event(sequencer="01"), door="test")
    drain(consumer)
    with stores.transaction() as transaction:
        transaction.uploads.finish(sent[0].id, UploadState.DONE)
    submit(client, settings, an_event(sequencer="03", event_id="again"), door="test")
    drain(consumer)
    assert [upload.id for upload in sent] == [sent[0].id] * 2


def test_the_live_lane_goes_first(consumer, client, sent, settings):
    for lane in (Lane.BACKFILL, Lane.RESCORE, Lane.LIVE):
        submit(client, settings, an_event(f"{lane}.jpg", lane), door="test")
    drain(consumer)
    assert [upload.event.lane for upload in sent] == [Lane.LIVE, Lane.RESCORE, Lane.BACKFILL]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"event": "not json"}, "InvalidEvent"),
        ({"event": '{"event_id": "x"}'}, "InvalidEvent"),
        ({"event": b"\xff\xfe"}, "InvalidEvent"),  # not UTF-8
        ({"other": "field"}, "InvalidEvent"),
        ({"nul\0name": "nul\0value"}, "InvalidEvent"),  # Postgres cannot hold it
        ({"event": an_event(bucket="somebody-elses").model_dump_json()}, "BucketNotAllowed"),
    ],
    ids=["not json", "not the schema", "not utf-8", "no event", "nul", "foreign bucket"],
)
def test_what_cannot_be_understood_is_a_dead_letter_and_stops_nobody(
    consumer, client, stores, sent, settings, fields, reason
):
    client.xadd(stream_name(settings.redis, Lane.LIVE), fields)
    submit(client, settings, an_event(), door="test")
    drain(consumer)
    assert len(sent) == 1
    [letter] = letters(stores)
    assert (letter.stage, letter.reason, letter.upload_id) == ("event", reason, None)
    assert letter.payload["fields"]
    assert letter.payload["lane"] == "live"
    assert waiting(client, settings) == (0, 0)


def test_an_event_that_the_ledger_refuses_does_not_hold_up_its_batch(
    consumer, client, stores, sent, settings, monkeypatch
):
    def refuse(event):
        if event.key == "bad.jpg":
            raise ValueError("told to")
        return new_row(event)

    new_row = uploads._new_row
    monkeypatch.setattr(uploads, "_new_row", refuse)
    for key in ("a.jpg", "bad.jpg", "b.jpg"):
        submit(client, settings, an_event(key), door="test")
    drain(consumer)
    assert [upload.event.key for upload in sent] == ["a.jpg", "b.jpg"]
    assert [letter.reason for letter in letters(stores)] == ["ValueError"]


def test_a_consumer_that_dies_after_the_commit_loses_no_task(consumer, client, stores, sent, settings):
    def die(_upload):
        raise StreamUnavailable("told to")

    submit(client, settings, an_event(), door="test")
    dying = Consumer(client, stores, die, settings, name="dying")
    with pytest.raises(StreamUnavailable):
        drain(dying)
    assert waiting(client, settings) == (1, 1)  # the row is written, the entry still pending
    drain(consumer)  # takes it over, for the other one has been silent for longer than `reclaim_idle`
    assert len(sent) == 1
    assert waiting(client, settings) == (0, 0)


def test_a_consumer_takes_up_again_what_it_left(client, stores, sent, settings):
    slow = settings.model_copy(update={"worker": WorkerSettings(consumer_block=0.05)})  # reclaims after a minute
    answers = iter([StoreUnavailable("told to"), None])

    class Flaky:
        def transaction(self):
            if error := next(answers, None):
                raise error
            return stores.transaction()

    consumer = Consumer(client, Flaky(), sent.append, slow, name="one")
    submit(client, settings, an_event(), door="test")
    stop = threading.Event()
    thread = threading.Thread(target=consumer.run, args=[stop])
    thread.start()
    try:
        wait_until(lambda: sent)
    finally:
        stop.set()
        thread.join(5)
    assert not thread.is_alive()
    assert waiting(client, settings) == (0, 0)


def test_a_redis_that_forgot_its_groups_gets_them_again(client, stores, sent, settings):
    stop = threading.Event()
    thread = threading.Thread(target=Consumer(client, stores, sent.append, settings, name="one").run, args=[stop])
    thread.start()
    try:
        submit(client, settings, an_event("before.jpg"), door="test")
        wait_until(lambda: len(sent) == 1)
        client.flushall()
        submit(client, settings, an_event("after.jpg"), door="test")
        wait_until(lambda: "after.jpg" in [upload.event.key for upload in sent])
    finally:
        stop.set()
        thread.join(10)
    assert {upload.event.key for upload in sent} == {"before.jpg", "after.jpg"}  # a task may be sent twice, never lost


def test_a_redis_that_forgets_its_streams_in_between_is_waited_for(client, stores, sent, settings):
    """Between the commands of one step, which each say it in words of their own."""
    consumer = Consumer(client, stores, sent.append, settings, name="one")
    [stream, *_] = consumer._streams
    for command in (consumer._read, consumer._reclaim, partial(consumer._forget_silent_consumers, stream)):
        consumer.create_groups()
        client.flushall()
        with pytest.raises(StreamUnavailable):
            command()


def wait_until(condition, seconds=10):
    pause = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        pause.wait(0.05)
    pytest.fail("waited in vain")
