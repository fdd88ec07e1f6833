"""Work that was given up on, until a person replays or drops it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pipeline.errors import Conflict, NotFound
from pipeline.records import Upload
from pipeline.store.audit import audit
from pipeline.store.loose_scan import distinct_values
from pipeline.store.models import DeadLetterRow
from pipeline.store.uploads import Uploads


@dataclass(frozen=True, slots=True)
class DeadLetter:
    id: int
    upload_id: int | None
    """None for an event that never became an upload; then `payload` is what arrived."""
    stage: str
    reason: str
    detail: str
    payload: dict[str, Any] | None
    attempts: int
    created_at: datetime
    resolution: str | None
    """None while it waits; then `replayed` or `dropped`."""


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; None means any."""

    reason: str | None = None
    stage: str | None = None
    since: datetime | None = None
    """Given up on at or after."""


EVERY = LetterFilter()


class DeadLetters:
    def __init__(self, session: Session) -> None:
        self._session = session

    def bury_event(self, *, stage: str, reason: str, detail: str, payload: dict[str, Any]) -> None:
        """Keep an event that never became an upload."""
        self._session.add(DeadLetterRow(stage=stage, reason=reason, detail=detail[:2000], payload=payload))
        self._session.flush()

    def waiting(self, limit: int = 100, *, after: int = 0, which: LetterFilter = EVERY) -> list[DeadLetter]:
        """Open ones, oldest first; `after` is the number of the last one of the page before."""
        rows = select(DeadLetterRow).where(DeadLetterRow.resolved_at.is_(None), DeadLetterRow.id > after)
        if which.reason is not None:
            rows = rows.where(DeadLetterRow.reason == which.reason)
        if which.stage is not None:
            rows = rows.where(DeadLetterRow.stage == which.stage)
        if which.since is not None:
            rows = rows.where(DeadLetterRow.created_at >= which.since)
        return [_to_letter(row) for row in self._session.scalars(rows.order_by(DeadLetterRow.id).limit(limit))]

    def reasons(self) -> list[str]:
        """Of those that wait, by name."""
        return distinct_values(self._session, DeadLetterRow.reason, DeadLetterRow.resolved_at.is_(None))

    def newest(self) -> int:
        """Number of the newest one, 0 if there is none."""
        return self._session.scalars(select(func.coalesce(func.max(DeadLetterRow.id), 0))).one()

    def get(self, letter_id: int) -> DeadLetter:
        row = self._session.get(DeadLetterRow, letter_id)
        if row is None:
            raise NotFound(f"dead letter {letter_id}")
        return _to_letter(row)

    def replay(self, letter_id: int, *, actor: str) -> Upload | dict[str, Any]:
        """Close it, and give back what is to be done again.

        Returns:
            Its upload, queued with all attempts, whose task the caller sends after the commit; or what arrived, of an
            event that never became one, which the caller puts back on its stream before the commit.

        Raises:
            NotFound: no such letter.
            Conflict: it is resolved already.
        """
        row = self._resolve(letter_id, "replayed", actor)
        if row.upload_id is None:
            return row.payload or {}
        return Uploads(self._session).requeue(row.upload_id)

    def drop(self, letter_id: int, *, actor: str) -> None:
        """Close it for good. Raises like `replay`."""
        self._resolve(letter_id, "dropped", actor)

    def _resolve(self, letter_id: int, resolution: str, actor: str) -> DeadLetterRow:
        row = self._session.get(DeadLetterRow, letter_id, with_for_update=True)
        if row is None:
            raise NotFound(f"dead letter {letter_id}")
        if row.resolution is not None:
            raise Conflict(f"dead letter {letter_id} was {row.resolution} by {row.resolved_by}")
        row.resolved_at, row.resolution, row.resolved_by = func.now(), resolution, actor
        audit(self._session, actor, f"dead_letter.{resolution}", f"dead_letter:{letter_id}", reason=row.reason)
        return row


def _to_letter(row: DeadLetterRow) -> DeadLetter:
    return DeadLetter(
        row.id,
        row.upload_id,
        row.stage,
        row.reason,
        row.detail,
        row.payload,
        row.attempts,
        row.created_at,
        row.resolution,
    )
