"""Buckets against the ledger: objects that nobody announced, uploads whose object is gone.

Both sides come in the order of their keys, and only the row at hand of each is held: memory does not grow with a bucket.
A difference is mended by an event like any other, so the ledger learns of it by its one way in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

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
    bucket: str, objects: Iterable[ObjectInfo], entries: Iterable[LedgerEntry], *, before: datetime
) -> Iterator[Difference | None]:
    """What differs, key by key; None for a key that agrees. What is younger than `before` is passed over.

    Raises:
        ObjectStoreUnavailable: also where the server does not list in the order of keys, as S3 does.
    """
    listed, recorded = _ordered(objects), iter(entries)
    found, entry = next(listed, None), next(recorded, None)
    while found is not None or entry is not None:
        if entry is None or (found is not None and found.key < entry.key):
            assert found is not None
            yield _missing(bucket, found, before)
            found = next(listed, None)
        elif found is None or entry.key < found.key:
            is_old = entry.received_at < before
            yield Difference(Finding.VANISHED, bucket, entry.key, entry.etag) if is_old else None
            entry = next(recorded, None)
        else:
            agrees = entry.etag is None or entry.etag == found.etag
            yield None if agrees else _missing(bucket, found, before)
            found, entry = next(listed, None), next(recorded, None)


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


def _missing(bucket: str, found: ObjectInfo, before: datetime) -> Difference | None:
    return Difference(Finding.MISSING, bucket, found.key, found.etag) if found.last_modified < before else None


def _ordered(objects: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Without folder markers. Python compares text by code points, which is the order of its UTF-8 bytes."""
    last = ""
    for found in objects:
        if found.key < last:
            raise ObjectStoreUnavailable(f"the listing of bucket {found.bucket!r} is not in the order of its keys")
        last = found.key
        if not found.key.endswith("/"):
            yield found
