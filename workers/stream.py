"""The front door: one bounded Redis Stream per lane. Every way in ends in `submit`, or in an `XADD` of the same shape.

An entry has one field, `event`, that holds the event's JSON:

    XADD lenswatch:uploads:live * event '{"event_id": "...", "bucket": "uploads", "key": "...", "uploaded_at": "..."}'
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from pipeline.errors import InvalidEvent, RetryableError
from pipeline.events import dump_event, parse_event
from pipeline.records import Lane, UploadEvent
from pipeline.settings import RedisSettings, Settings
from workers import metrics

EVENT_FIELD = "event"
GROUP = "ledger"
"""The consumer group that carries entries over into the ledger."""


_PASSING = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,  # a replica, in the middle of a fail-over
)


class StreamFull(RetryableError):
    """The ledger does not keep up; try again later. Nothing was taken."""


class StreamUnavailable(RetryableError):
    """Redis is away or out of memory. The event may have been taken; sending it again is harmless."""


class BucketNotAllowed(InvalidEvent):
    """The event names a bucket that is not configured."""


def connect(settings: RedisSettings) -> redis.Redis:
    """A client whose every wait has an end."""
    return redis.Redis.from_url(
        settings.url.get_secret_value(),
        socket_timeout=settings.socket_timeout,
        socket_connect_timeout=settings.socket_timeout,
        health_check_interval=25,
        decode_responses=True,
        encoding_errors="backslashreplace",  # bytes that are not UTF-8 must break their own entry, not the whole read
    )


def stream_name(settings: RedisSettings, lane: Lane) -> str:
    return f"{settings.stream_prefix}{lane.value}"


def read_event(text: str, settings: Settings) -> UploadEvent:
    """What an entry says.

    Raises:
        InvalidEvent: not the published schema.
        BucketNotAllowed: an event must never choose what Lenswatch reads.
    """
    event = parse_event(text)
    if event.bucket not in settings.s3.buckets:
        raise BucketNotAllowed(f"bucket {event.bucket!r} is not among the configured ones")
    return event


def submit(client: redis.Redis, settings: Settings, event: UploadEvent, *, door: str) -> str:
    """Put the event on its lane's stream; returns the entry's id. `door` is for the count of accepted events.

    The bound is soft: doors that look at the same moment may pass it by one entry each.

    Raises:
        InvalidEvent, BucketNotAllowed: the other end of the stream would refuse it.
        StreamFull: the stream holds `stream_max_length` entries that the ledger has not taken over.
        StreamUnavailable: Redis did not answer.
    """
    text = dump_event(event)
    read_event(text, settings)
    stream = stream_name(settings.redis, event.lane)
    with translated():
        if int(client.xlen(stream)) >= settings.redis.stream_max_length:
            raise StreamFull(f"the stream of lane {event.lane} is full")
        entry_id = str(client.xadd(stream, {EVENT_FIELD: text}))
    metrics.EVENTS_ACCEPTED.labels(door, event.lane.value).inc()
    return entry_id


@contextmanager
def translated() -> Iterator[None]:
    """redis-py's errors that may pass, as ours; an error in the request itself stays what it is."""
    try:
        yield
    except redis.RedisError as error:
        if isinstance(error, _PASSING) or str(error).startswith("NOGROUP"):  # a Redis that lost its streams
            raise StreamUnavailable(f"{type(error).__name__}: {error}") from error
        raise
