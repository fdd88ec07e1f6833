"""The front door's bound and its senders' rates, on a real Redis."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from pipeline.records import Lane, UploadEvent
from pipeline.settings import RedisSettings, Settings, WebSettings
from workers.door import Door
from workers.lanes import queue_name
from workers.stream import (
    RateLimited,
    StreamFull,
    StreamUnavailable,
    connect,
    read_event,
    stream_name,
    submit,
)

EVENT = UploadEvent(event_id="e1", bucket="uploads", key="a b.jpg", uploaded_at=datetime(2026, 1, 1, tzinfo=UTC))
BACKFILL = EVENT.model_copy(update={"lane": Lane.BACKFILL})


@pytest.fixture
def settings(redis_url):
    return Settings(
        _env_file=None,
        redis=RedisSettings(url=redis_url, stream_max_length=3),
        web=WebSettings(events_per_second=5, events_burst=2),
    )


@pytest.fixture
def client(settings):
    with connect(settings.redis) as client:
        yield client


def from_web(settings, events, key="ingest"):
    async def once():
        async with Door(settings) as door:
            return await door.submit(events, door="test", key=key)

    return asyncio.run(once())


def test_an_entry_is_the_event_in_its_published_form(client, settings):
    entry_id = submit(client, settings, EVENT, door="test")
    [(stored_id, entry)] = client.xrange(stream_name(settings.redis, Lane.LIVE))
    assert (stored_id, list(entry)) == (entry_id, ["event"])
    assert read_event(entry["event"], settings) == EVENT


def test_lanes_have_streams_of_their_own(client, settings):
    submit(client, settings, BACKFILL, door="test")
    assert client.keys() == ["lenswatch:uploads:backfill"]


def test_a_full_stream_takes_nothing(client, settings):
    for _ in range(3):
        submit(client, settings, EVENT, door="test")
    with pytest.raises(StreamFull, match="lane live"):
        submit(client, settings, EVENT, door="test")
    assert client.xlen(stream_name(settings.redis, Lane.LIVE)) == 3
    submit(client, settings, BACKFILL, door="test")  # other lanes do not wait for this one


def test_workers_that_do_not_keep_up_push_back_at_the_door(client, settings):
    client.rpush(queue_name(Lane.LIVE), "task", "task")
    submit(client, settings, EVENT, door="test")
    with pytest.raises(StreamFull):
        submit(client, settings, EVENT, door="test")
    client.lpop(queue_name(Lane.LIVE))
    submit(client, settings, EVENT, door="test")


def test_a_key_may_send_a_burst_and_then_at_its_rate(client, settings):
    assert len(from_web(settings, [EVENT, EVENT])) == 2
    with pytest.raises(RateLimited) as refused:
        from_web(settings, [EVENT])
    assert 0 < refused.value.retry_after <= 1 / 5
    from_web(settings, [EVENT], key="another")
    assert client.xlen(stream_name(settings.redis, Lane.LIVE)) == 3


def test_an_allowance_comes_back(client, settings):
    from_web(settings, [EVENT, EVENT])
    client.xtrim(stream_name(settings.redis, Lane.LIVE), maxlen=0)
    [allowance] = client.keys("*allowance*")
    assert 0 < client.pttl(allowance) <= 2 / 5 * 1000 + 1  # whole again when it expires
    client.delete(allowance)
    assert len(from_web(settings, [EVENT, EVENT])) == 2


def test_a_notification_is_counted_by_its_events_and_taken_whole_or_not(client, settings):
    from_web(settings, [EVENT])
    with pytest.raises(RateLimited):
        from_web(settings, [EVENT, EVENT])
    assert client.xlen(stream_name(settings.redis, Lane.LIVE)) == 1


def test_a_notification_over_the_burst_costs_the_burst(client, settings):
    assert len(from_web(settings, [EVENT] * 10)) == 10
    with pytest.raises(StreamFull):
        from_web(settings, [EVENT])


def test_a_full_lane_costs_no_allowance(client, settings):
    client.rpush(queue_name(Lane.LIVE), *"abc")
    with pytest.raises(StreamFull):
        from_web(settings, [EVENT])
    assert client.keys("*allowance*") == []


def test_a_redis_without_memory_takes_nothing(client, settings):
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StreamUnavailable, match="OOM"):
            submit(client, settings, EVENT, door="test")
        with pytest.raises(StreamUnavailable, match="OOM"):
            from_web(settings, [EVENT])
    finally:
        client.config_set("maxmemory", "0")
    assert client.keys() == []


def test_a_redis_that_is_away_is_said_at_once():
    settings = Settings(_env_file=None, redis=RedisSettings(url="redis://127.0.0.1:1/0"))
    with pytest.raises(StreamUnavailable):
        from_web(settings, [EVENT])
