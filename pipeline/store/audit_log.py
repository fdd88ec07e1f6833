"""The audit log, to be read; `audit.py` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from pipeline.store.audit import audit
from pipeline.store.models_ops import AuditRow


@dataclass(frozen=True, slots=True)
class AuditEntry:
    id: int
    created_at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are meant; None means any."""

    actor: str | None = None
    subject: str | None = None
    """Kind and id, `surface:avatars`."""
    since: datetime | None = None
    until: datetime | None = None
    """Before then."""


EVERYTHING = AuditFilter()


class AuditLog:
    def __init__(self, session: Session) -> None:
        self._session = session

    def page(self, which: AuditFilter = EVERYTHING, *, before: int | None = None, limit: int = 100) -> list[AuditEntry]:
        """Newest first; `before` is the number of the last one of the page before."""
        rows = _chosen(which).order_by(AuditRow.id.desc()).limit(limit)
        if before is not None:
            rows = rows.where(AuditRow.id < before)
        return _to_entries(self._session.scalars(rows).all())

    def batch(self, which: AuditFilter, *, after: int, up_to: int, limit: int) -> list[AuditEntry]:
        """Oldest first, of those with numbers over `after`, and at most `up_to`."""
        rows = _chosen(which).where(AuditRow.id > after, AuditRow.id <= up_to).order_by(AuditRow.id).limit(limit)
        return _to_entries(self._session.scalars(rows).all())

    def note_export(self, actor: str, format: str, filters: dict[str, str]) -> None:
        """Write down that somebody takes entries away."""
        audit(self._session, actor, "audit.exported", "audit_log:*", format=format, filters=filters)

    def newest(self) -> int:
        """Number of the newest one, 0 if there is none."""
        return self._session.scalars(select(func.coalesce(func.max(AuditRow.id), 0))).one()


def _chosen(which: AuditFilter) -> Select[AuditRow]:
    rows = select(AuditRow)
    if which.actor is not None:
        rows = rows.where(AuditRow.actor == which.actor)
    if which.subject is not None:
        rows = rows.where(AuditRow.subject == which.subject)
    if which.since is not None:
        rows = rows.where(AuditRow.created_at >= which.since)
    if which.until is not None:
        rows = rows.where(AuditRow.created_at < which.until)
    return rows


def _to_entries(rows: Sequence[AuditRow]) -> list[AuditEntry]:
    return [AuditEntry(row.id, row.created_at, row.actor, row.action, row.subject, row.detail) for row in rows]
