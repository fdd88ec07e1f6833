"""Stream -> ledger -> Celery task -> XACK: the one place where a promise changes hands.

Until the ledger row is committed, the entry stays pending in Redis; once it is, Postgres is the truth and the Celery
message only a hint. Whatever dies in between, the entry is read again and finds its row.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Literal

import redis
import structlog

from pipeline.errors import InvalidEvent, RetryableError
from pipeline.events import MAX_EVENT_BYTES
from pipeline.records import EventKind, Lane, Upload, UploadEvent, UploadState
from pipeline.settings import Settings
from pipeline.store import Stores, Transaction
from workers import metrics
from workers.stream import EVENT_FIELD, GROUP, read_event, stream_name, translated

log = structlog.get_logger(__name__)

EVENT_STAGE = "event"
"""Stage of the dead letters that never became an upload."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds between tries while Redis or Postgres is away; doubled in between."""

PAYLOAD_KEPT = MAX_EVENT_BYTES
"""Characters of a broken entry's field that its dead letter keeps; what is longer is no event."""

SILENT_CONSUMER_KEPT = 3_600_000
"""ms after which a consumer with nothing pending is taken off the group's list."""

NEW, MINE = ">", "0"
"""What to read: entries nobody has seen, or those that this consumer read and did not acknowledge."""

Entry = tuple[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one entry."""

    outcome: Literal["new", "duplicate", "deletion", "dead"]
    upload: Upload | None = None
    """Of `new` (its task has to be sent) and `duplicate`."""


class Consumer:
    """Carries entries over, live lane first, until told to stop."""

    def __init__(
        self, client: redis.Redis, stores: Stores, send: Callable[[Upload], None], settings: Settings, name: str = ""
    ) -> None:
        """`send` puts an upload's task on its lane's queue; it raises RetryableError where that failed."""
        self._client = client
        self._stores = stores
        self._send = send
        self._settings = settings
        self._name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._streams = {stream_name(settings.redis, lane): lane for lane in Lane}
        self._read_from = MINE
        self._reclaimed_at = 0.0

    def run(self, stop: Event) -> None:
        """Work until `stop` is set. Servers that are away are waited for; nothing read is lost."""
        log.info("consumer_started", consumer=self._name, streams=list(self._streams))
        pause, groups_ready = FIRST_PAUSE, False
        while not stop.is_set():
            try:
                if not groups_ready:
                    self.create_groups()
                    groups_ready = True
                self.step()
                pause = FIRST_PAUSE
            except RetryableError as error:
                log.warning("consumer_waits", error=str(error), seconds=pause)
                groups_ready, self._read_from = False, MINE  # what was read and not acknowledged comes first
                stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        log.info("consumer_stopped", consumer=self._name)

    def create_groups(self) -> None:
        """Make sure that every lane has its stream and group, also after a Redis that forgot them."""
        for stream in self._streams:
            try:
                with translated():
                    self._client.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except redis.ResponseError as error:
                if "BUSYGROUP" not in str(error):  # it exists
                    raise

    def step(self) -> int:
        """Take over one batch per lane; returns how many entries that were."""
        count = self._reclaim() if self._reclaim_is_due() else 0
        batches = self._read()
        if self._read_from == MINE and not batches:
            self._read_from = NEW
            batches = self._read()
        for stream, entries in batches:
            self._take_over(stream, entries, seen_before=self._read_from == MINE)
            count += len(entries)
        return count

    def _read(self) -> list[tuple[str, list[Entry]]]:
        worker = self._settings.worker
        with translated():
            reply: Any = self._client.xreadgroup(
                GROUP,
                self._name,
                dict.fromkeys(self._streams, self._read_from),  # lanes in the order of `Lane`: live first
                count=worker.consumer_batch,
                block=round(worker.consumer_block * 1000),
            )
        return [(stream, entries) for stream, entries in reply or [] if entries]

    def _reclaim_is_due(self) -> bool:
        return time.monotonic() - self._reclaimed_at > self._settings.worker.reclaim_idle.total_seconds() / 2

    def _reclaim(self) -> int:
        """Take over what a consumer that fell silent has left pending."""
        idle = round(self._settings.worker.reclaim_idle.total_seconds() * 1000)
        count = 0
        for stream in self._streams:
            for entries in self._stale(stream, idle):
                log.info("entries_reclaimed", stream=stream, count=len(entries))
                self._take_over(stream, entries, seen_before=True)
                count += len(entries)
            self._forget_silent_consumers(stream)
        self._reclaimed_at = time.monotonic()
        return count

    def _stale(self, stream: str, idle_ms: int) -> Iterator[list[Entry]]:
        cursor = "0-0"
        while True:
            with translated():
                reply: Any = self._client.xautoclaim(
                    stream, GROUP, self._name, idle_ms, cursor, count=self._settings.worker.consumer_batch
                )
            cursor = reply[0]
            entries = [entry for entry in reply[1] if entry[0] is not None]  # None: trimmed away by hand
            if entries:
                yield entries
            if cursor == "0-0":
                return

    def _forget_silent_consumers(self, stream: str) -> None:
        with translated():
            consumers: Any = self._client.xinfo_consumers(stream, GROUP)
            for consumer in consumers:
                if consumer["pending"] == 0 and consumer["idle"] > SILENT_CONSUMER_KEPT:
                    self._client.xgroup_delconsumer(stream, GROUP, consumer["name"])

    def _take_over(self, stream: str, entries: Sequence[Entry], *, seen_before: bool) -> None:
        """Ledger, then task, then acknowledgement; in this order nothing gets lost."""
        lane = self._streams[stream]
        for taken in self._write(lane, entries):
            metrics.LEDGER_ROWS.labels(lane.value, taken.outcome).inc()
            # A first delivery of a known event is a duplicate, whose task is on its way. A second delivery of our own
            # may have died between the commit and the sending.
            waits = taken.upload is not None and taken.upload.state is UploadState.QUEUED
            if taken.upload and (taken.outcome == "new" or (seen_before and waits)):
                self._send(taken.upload)
        ids = [entry_id for entry_id, _ in entries]
        with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.xack(stream, GROUP, *ids)
            pipe.xdel(stream, *ids)  # a stream holds only what nobody has taken over yet
            pipe.execute()

    def _write(self, lane: Lane, entries: Sequence[Entry]) -> list[Taken]:
        """One transaction for the batch. Where the batch cannot be written, its entries are tried one by one."""
        read = [self._read_event(entry) for entry in entries]
        try:
            with self._stores.transaction() as transaction:
                new = transaction.uploads.record_new([event for event in read if isinstance(event, UploadEvent)])
                return [
                    Taken("new", new[event]) if event in new else _write_one(transaction, lane, entry, event)
                    for entry, event in zip(entries, read, strict=True)
                ]
        except RetryableError:  # also a deadlock: the batch comes again
            raise
        except Exception as error:
            if len(entries) > 1:
                return [taken for entry in entries for taken in self._write(lane, [entry])]
            log.exception("event_not_writable", entry_id=entries[0][0])
            with self._stores.transaction() as transaction:
                return [_bury(transaction, lane, entries[0], type(error).__name__, "the ledger refused it")]

    def _read_event(self, entry: Entry) -> UploadEvent | InvalidEvent:
        try:
            return read_event(entry[1].get(EVENT_FIELD, ""), self._settings)
        except InvalidEvent as error:
            return error


def _write_one(transaction: Transaction, lane: Lane, entry: Entry, event: UploadEvent | InvalidEvent) -> Taken:
    if isinstance(event, InvalidEvent):
        return _bury(transaction, lane, entry, type(event).__name__, str(event))
    if event.kind is EventKind.DELETED:
        closed = transaction.uploads.delete(event)
        log.info("object_deleted", event_id=event.event_id, uploads_closed=closed)
        return Taken("deletion")
    upload, starts = transaction.uploads.record(event)
    return Taken("new" if starts else "duplicate", upload)


def _bury(transaction: Transaction, lane: Lane, entry: Entry, reason: str, detail: str) -> Taken:
    entry_id, fields = entry
    kept = {_storable(name): _storable(value) for name, value in fields.items()}
    payload = {"lane": lane, "entry_id": entry_id, "fields": kept, "cut": kept != fields}
    log.info("event_buried", entry_id=entry_id, reason=reason)
    transaction.dead_letters.bury_event(stage=EVENT_STAGE, reason=reason, detail=detail, payload=payload)
    metrics.DEAD_LETTERS.labels(EVENT_STAGE).inc()
    return Taken("dead")


def _storable(text: str) -> str:
    """As much of it as is kept, without the one character that Postgres cannot hold."""
    return text[:PAYLOAD_KEPT].replace("\x00", "\\0")
