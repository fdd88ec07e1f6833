"""Buckets against the ledger: objects that nobody announced, uploads whose object is gone.

Both sides come in the order of their keys, and only the row at hand of each is held: memory does not grow with a
bucket. A difference is mended by an event like any other, so the ledger learns of it by its one way in.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from operator import attrgetter

from pipeline.errors import ObjectStoreUnavailable
from pipeline.ports import ObjectInfo
from pipeline.records import EventKind, Lane, UploadEvent


class Finding(StrEnum):
    MISSING = "missing"
    """The object is there, and no upload stands for it."""
    VANISHED = "vanished"
    """The upload is there, and its object is not."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """The newest upload of one key that is not deleted."""

    key: str
    etag: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    finding: Finding
    bucket: str
    key: str
    etag: str | None


def compare(
    bucket: str,
    objects: Iterable[ObjectInfo],
    entries: Iterable[LedgerEntry],
    *,
    before: datetime,
    since: datetime | None = None,
) -> Iterator[Difference | None]:
    """What differs, key by key; None for a key that agrees.

    What is younger than `before` is passed over: its event may be on its way. So are objects from before `since`: the
    ledger may have forgotten them.

    Raises:
        ObjectStoreUnavailable: also where the server does not list in the order of keys, as S3 does.
    """
    by_key = attrgetter("key")
    sides: Iterator[ObjectInfo | LedgerEntry] = heapq.merge(_ordered(objects), entries, key=by_key)
    for key, group in groupby(sides, key=by_key):
        found: ObjectInfo | None = None
        entry: LedgerEntry | None = None
        for one in group:
            if isinstance(one, ObjectInfo):
                found = one
            else:
                entry = one
        if found is not None:
            agrees = entry is not None and entry.etag in (None, found.etag)
            passed_over = found.last_modified >= before or (since is not None and found.last_modified < since)
            yield None if agrees or passed_over else Difference(Finding.MISSING, bucket, key, found.etag)
        elif entry is not None:
            is_old = entry.received_at < before
            yield Difference(Finding.VANISHED, bucket, key, entry.etag) if is_old else None


def mending(difference: Difference, *, seen_at: datetime, surface: str, lane: Lane) -> UploadEvent:
    """The event that mends it: at `seen_at`, when the comparison began, the object was there, or was not."""
    gone = difference.finding is Finding.VANISHED
    said = (difference.finding, difference.bucket, difference.key, difference.etag or "", seen_at.isoformat())
    return UploadEvent(
        kind=EventKind.DELETED if gone else EventKind.CREATED,
        event_id="reconcile:" + hashlib.sha256("\0".join(said).encode()).hexdigest()[:32],
        bucket=difference.bucket,
        key=difference.key,
        etag=None if gone else difference.etag,
        uploaded_at=seen_at,
        surface=surface,
        lane=lane,
    )


def _ordered(objects: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Without folder markers. Python compares text by code points, which is the order of its UTF-8 bytes."""
    last = ""
    for found in objects:
        if found.key < last:
            raise ObjectStoreUnavailable(f"the listing of bucket {found.bucket!r} is not in the order of its keys")
        last = found.key
        if not found.key.endswith("/"):
            yield found
