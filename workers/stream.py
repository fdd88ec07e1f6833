"""The front door: one bounded Redis Stream per lane. Every way in ends in `submit`, or in an `XADD` of the same shape.

An entry has one field, `event`, that holds the event's JSON:

    XADD lenswatch:uploads:live * event '{"event_id": "...", "bucket": "uploads", "key": "...", "uploaded_at": "..."}'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.errors import InvalidEvent, RetryableError
from pipeline.events import dump_event, parse_event
from pipeline.records import Lane, UploadEvent
from pipeline.settings import RedisSettings, Settings
from workers import metrics
from workers.lanes import queue_name

EVENT_FIELD = "event"
GROUP = "ledger"
"""The consumer group that carries entries over into the ledger."""

APPEND = """
-- All of the events or none, in one round trip: is there room in the lane, and in the sender's allowance?
-- KEYS: stream, task queue, allowance.  ARGV: most waiting, events per second (0: any), burst, event, event, ...
local stream, queue, allowance = KEYS[1], KEYS[2], KEYS[3]
local most, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('XLEN', stream) + redis.call('LLEN', queue) >= most then return {'full'} end
if rate > 0 then  -- GCRA: all that is stored is when the allowance will be whole again, in microseconds
  local time = redis.call('TIME')
  local now = time[1] * 1e6 + time[2]
  local cost = math.floor(math.min(#ARGV - 3, burst) * 1e6 / rate)
  local whole_at = math.max(tonumber(redis.call('GET', allowance) or now), now) + cost
  local wait = whole_at - now - math.floor(burst * 1e6 / rate)
  if wait > 0 then return {'limited', string.format('%.3f', wait / 1e6)} end
  local kept = math.ceil((whole_at - now) / 1e3) + 1
  redis.call('SET', allowance, string.format('%.0f', whole_at), 'PX', kept)
end
local answer = {'taken'}
for i = 4, #ARGV do
  answer[#answer + 1] = redis.call('XADD', stream, '*', 'event', ARGV[i])
end
return answer
"""
"""Redis refuses a script for want of memory at its first write or not at all, so it stays all or nothing."""

_PASSING = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,  # a replica, in the middle of a fail-over
)
_PASSING_WORDS = re.compile(
    r"\b(OOM|READONLY"  # the same two, out of a script
    r"|MISCONF"  # its disk is full
    r"|NOREPLICAS"
    r"|NOGROUP|no such key)\b"  # a Redis that lost its streams; so says XINFO
)


class StreamFull(RetryableError):
    """Consumer or workers do not keep up; try again later. Nothing was taken."""


class RateLimited(RetryableError):
    """The sender's key is used too often. Nothing was taken."""

    def __init__(self, seconds: float) -> None:
        super().__init__("more events than this key may send; nothing was taken")
        self.retry_after = seconds


class StreamUnavailable(RetryableError):
    """Redis is away or out of memory. The event may have been taken; sending it again is harmless."""


class BucketNotAllowed(InvalidEvent):
    """The event names a bucket that is not configured."""


def connect(settings: RedisSettings) -> redis.Redis:
    """A client whose every wait has an end."""
    return redis.Redis.from_url(
        settings.address,
        socket_timeout=settings.socket_timeout,
        socket_connect_timeout=settings.socket_timeout,
        retry=Retry(NoBackoff(), 1),  # replaces a connection that died while idle; whoever calls knows how to wait
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
    """Put the event on its lane's stream, from a command of our own; returns the entry's id.

    `door` is for the count of accepted events.

    Raises:
        InvalidEvent, BucketNotAllowed: the other end of the stream would refuse it.
        StreamFull: stream and task queue together hold `stream_max_length` entries.
        StreamUnavailable: Redis did not answer.
    """
    append = Append.of([event], settings, door)
    with translated():
        reply = client.eval(APPEND, len(append.keys), *append.keys, *append.arguments)
    return append.read(reply)[0]


@dataclass(frozen=True, slots=True)
class Append:
    """One call of the script, for events that share a lane, and what its answer means."""

    keys: list[str]
    arguments: list[str | float]
    lane: Lane
    door: str
    key: str

    @classmethod
    def of(cls, events: Sequence[UploadEvent], settings: Settings, door: str, key: str = "") -> Self:
        """`key` names the sender, whose rate is limited; empty for our own commands.

        Raises:
            InvalidEvent, BucketNotAllowed: the other end of the stream would refuse it.
        """
        texts = [dump_event(event) for event in events]
        for text in texts:
            read_event(text, settings)
        lane, limits = events[0].lane, settings.web
        allowance = f"{settings.redis.stream_prefix}allowance:{key}"
        rate = limits.events_per_second if key else 0
        return cls(
            keys=[stream_name(settings.redis, lane), queue_name(lane), allowance],
            arguments=[settings.redis.stream_max_length, rate, limits.events_burst, *texts],
            lane=lane,
            door=door,
            key=key,
        )

    def read(self, reply: Any) -> list[str]:
        """The entries' ids. Raises StreamFull or RateLimited."""
        outcome, *values = reply
        if outcome == "full":
            raise StreamFull(f"lane {self.lane} has no room now; nothing was taken")
        if outcome == "limited":
            raise RateLimited(float(values[0]))
        metrics.EVENTS_ACCEPTED.labels(self.door, self.lane.value, self.key).inc(len(values))
        return [str(entry_id) for entry_id in values]


@contextmanager
def translated() -> Iterator[None]:
    """redis-py's errors that may pass, as ours; an error in the request itself stays what it is."""
    try:
        yield
    except redis.RedisError as error:
        translation = translate(error)
        if translation is error:
            raise
        raise translation from error


def translate(error: Exception) -> Exception:
    """The same error, or a StreamUnavailable where it may pass."""
    # uvloop says RuntimeError of a connection that broke a moment before it was written to; redis-py lets that through.
    broken = isinstance(error, OSError) or (isinstance(error, RuntimeError) and "closed" in str(error))
    if broken or isinstance(error, _PASSING) or _PASSING_WORDS.search(str(error)):
        return StreamUnavailable(f"{type(error).__name__}: {error}")
    return error
