"""The front door's rules, without a server; the real Redis is in `integration/test_doors.py`."""

from datetime import UTC, datetime

import pytest
import redis

from pipeline.errors import InvalidEvent
from pipeline.records import Lane, UploadEvent
from pipeline.settings import RedisSettings, Settings
from workers.stream import BucketNotAllowed, StreamFull, StreamUnavailable, read_event, submit, translated

SETTINGS = Settings(_env_file=None, redis=RedisSettings(stream_max_length=2))
EVENT = UploadEvent(event_id="e1", bucket="uploads", key="a b.jpg", uploaded_at=datetime(2026, 1, 1, tzinfo=UTC))


class Streams:
    """As much of redis-py as a door uses."""

    def __init__(self):
        self.entries = {}

    def xlen(self, stream):
        return len(self.entries.get(stream, []))

    def xadd(self, stream, fields):
        self.entries.setdefault(stream, []).append(fields)
        return f"{len(self.entries[stream])}-0"


def test_an_entry_is_the_event_in_its_published_form():
    streams = Streams()
    assert submit(streams, SETTINGS, EVENT, door="test") == "1-0"
    [entry] = streams.entries["lenswatch:uploads:live"]
    assert list(entry) == ["event"]
    assert read_event(entry["event"], SETTINGS) == EVENT


def test_lanes_have_streams_of_their_own():
    streams = Streams()
    submit(streams, SETTINGS, EVENT.model_copy(update={"lane": Lane.BACKFILL}), door="test")
    assert list(streams.entries) == ["lenswatch:uploads:backfill"]


def test_a_full_stream_takes_nothing():
    streams = Streams()
    submit(streams, SETTINGS, EVENT, door="test")
    submit(streams, SETTINGS, EVENT, door="test")
    with pytest.raises(StreamFull):
        submit(streams, SETTINGS, EVENT, door="test")
    assert streams.xlen("lenswatch:uploads:live") == 2


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"bucket": "somebody-elses"}, BucketNotAllowed),
        ({"key": "nul\0byte"}, InvalidEvent),
    ],
)
def test_what_the_consumer_would_bury_is_refused_at_the_door(change, error):
    streams = Streams()
    with pytest.raises(error):
        submit(streams, SETTINGS, EVENT.model_copy(update=change), door="test")
    assert not streams.entries


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("refused"),
        redis.TimeoutError("slow"),
        redis.exceptions.BusyLoadingError("loading"),
        redis.exceptions.OutOfMemoryError("OOM"),
        redis.exceptions.ReadOnlyError("replica"),
        redis.ResponseError("NOGROUP No such key"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_pass_are_ours(error):
    with pytest.raises(StreamUnavailable), translated():
        raise error


def test_a_wrong_request_stays_what_it_is():
    with pytest.raises(redis.ResponseError), translated():
        raise redis.ResponseError("WRONGTYPE")
