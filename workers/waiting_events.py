"""Events that wait in the streams, for an erasure: `pipeline.erase.WaitingEvents`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import redis

from pipeline.records import Lane
from pipeline.settings import Settings
from workers.stream import EVENT_FIELD, GROUP, stream_name, translated

PAGE = 1000
"""Entries read at a time."""


class StreamedEvents:
    """All lanes' streams. Raises StreamUnavailable."""

    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._client = client
        self._streams = [stream_name(settings.redis, lane) for lane in Lane]

    def count(self, chosen: Callable[[str], bool]) -> int:
        return sum(len(self._chosen(stream, chosen)) for stream in self._streams)

    def remove(self, chosen: Callable[[str], bool]) -> int:
        """Acknowledges them too: an entry that is gone but pending would be read again as an empty one."""
        removed = 0
        for stream in self._streams:
            ids = self._chosen(stream, chosen)
            for start in range(0, len(ids), PAGE):
                page = ids[start : start + PAGE]
                with translated(), self._client.pipeline(transaction=True) as pipe:
                    pipe.xack(stream, GROUP, *page)
                    pipe.xdel(stream, *page)
                    removed += pipe.execute()[1]
        return removed

    def _chosen(self, stream: str, chosen: Callable[[str], bool]) -> list[str]:
        return [
            entry_id
            for entry_id, fields in self._entries(stream)
            # An entry of another shape is one that the ledger would bury, whole.
            if chosen(fields.get(EVENT_FIELD) or " ".join(f'"{text}"' for text in fields.values()))
        ]

    def _entries(self, stream: str) -> Iterator[tuple[str, dict[str, str]]]:
        after = "-"
        while True:
            with translated():
                page: Any = self._client.xrange(stream, min=after, count=PAGE)
            yield from page
            if len(page) < PAGE:
                return
            after = f"({page[-1][0]}"
