"""What the HTTP doors put on the streams: whatever arrives during one round trip to Redis goes together in the next.

A group commit: at a few events per second each goes at once, at thousands a round trip carries dozens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pipeline.records import UploadEvent
from pipeline.settings import Settings
from workers.stream import APPEND, Append, translate

MOST_AT_ONCE = 500


class Door:
    """One web process's way to the streams. Make it inside the event loop; a context manager."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        timeout = settings.redis.door_timeout
        self._client = redis.asyncio.Redis.from_url(
            settings.redis.address,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1),  # replaces a connection that died while idle
            decode_responses=True,
        )
        self._waiting: list[tuple[Append, asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sending is not None:
            await self._sending
        await self._client.aclose()

    async def submit(self, events: Sequence[UploadEvent], *, door: str, key: str) -> list[str]:
        """All of `events`, which share a lane, or none; returns the entries' ids. `key` names the sender.

        Raises:
            RateLimited: more than `events_per_second` under this key.
            InvalidEvent, BucketNotAllowed, StreamFull, StreamUnavailable: as `stream.submit`.
        """
        if not events:
            return []
        append = Append.of(events, self.settings, door, key)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((append, answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        return append.read(await answer)

    async def _send(self) -> None:
        while batch := self._waiting[:MOST_AT_ONCE]:
            del self._waiting[:MOST_AT_ONCE]
            replies = await self._exchange([append for append, _ in batch])
            for (_, answer), reply in zip(batch, replies, strict=True):
                if answer.done():  # its caller has gone
                    continue
                answer.set_exception(reply) if isinstance(reply, Exception) else answer.set_result(reply)
        self._sending = None

    async def _exchange(self, appends: Sequence[Append]) -> Sequence[Any]:
        """The script's answer to each, or the error."""
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                for append in appends:
                    pipe.eval(APPEND, len(append.keys), *append.keys, *append.arguments)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
        except Exception as error:  # every caller must get it, whatever it is, and in an object of its own
            return [translate(error) for _ in appends]
        return [translate(reply) if isinstance(reply, Exception) else reply for reply in replies]
