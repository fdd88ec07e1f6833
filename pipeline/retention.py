"""Rows that have been kept long enough go, in small batches. How long that is: `RetentionSettings`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import structlog

from pipeline.derived_files import delete_derived
from pipeline.ports import Clock, ObjectStore
from pipeline.settings import RetentionSettings

log = structlog.get_logger(__name__)


class Family(StrEnum):
    """Tables whose rows age together; the names are those of the settings."""

    UPLOADS = "uploads"
    EMBEDDINGS = "embeddings"
    EXIF = "exif"
    WEBHOOKS = "webhooks"
    DELETIONS = "deletions"
    DEAD_LETTERS = "dead_letters"
    DRIFT_SNAPSHOTS = "drift_snapshots"
    AUDIT_LOG = "audit_log"


@dataclass(frozen=True, slots=True)
class Removed:
    """What went in one batch."""

    rows: Counter[str]
    """By table."""
    drawn: tuple[str, ...] = ()
    """SHA-256 of images that went and of which there are pictures."""


class RetentionStore(Protocol):
    """Runs inside the caller's transaction and never commits; `pipeline.store.Retention`."""

    def remove(self, family: Family, *, before: datetime, limit: int) -> Removed:
        """Delete the oldest rows from before then, passing over those that somebody holds."""
        ...


class RetentionTransaction(Protocol):
    @property
    def retention(self) -> RetentionStore: ...


@dataclass(frozen=True, slots=True)
class RetentionDeps:
    transaction: Callable[[], AbstractContextManager[RetentionTransaction]]
    objects: ObjectStore
    model_bucket: str
    settings: RetentionSettings
    clock: Clock


def remove_expired(deps: RetentionDeps) -> Counter[str]:
    """One run, every batch in its own transaction; returns table -> rows. What is left over is the next run's.

    Raises:
        StoreUnavailable, ObjectStoreUnavailable: what is committed by then stays removed.
    """
    removed: Counter[str] = Counter()
    for family, age in _ages(deps.settings):
        before = deps.clock.now() - age
        for _ in range(deps.settings.max_batches):
            with deps.transaction() as transaction:
                batch = transaction.retention.remove(family, before=before, limit=deps.settings.batch_size)
                delete_derived(deps.objects, deps.model_bucket, batch.drawn)  # first: a crash repeats the batch
            removed += batch.rows
            if not batch.rows:
                break
    if removed:
        log.info("expired_rows_removed", **removed)
    return removed


def _ages(settings: RetentionSettings) -> Iterator[tuple[Family, timedelta]]:
    """Families that do not stay for ever."""
    for family in Family:
        age = getattr(settings, family.value)
        if age is not None:
            yield family, age
