"""Webhooks that wait to be sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from pipeline.store.models import OutboxRow


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook, claimed by the one who will try it."""

    id: int
    delivery_id: UUID
    """The same at every try."""
    callback: str
    payload: dict[str, Any]
    attempts: int
    """With the one that it was claimed for."""


class Outbox:
    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, *, limit: int, lease: timedelta) -> list[Delivery]:
        """Deliveries that are due, oldest first; nobody else gets them before `lease` is over."""
        due = (
            select(OutboxRow.id)
            .where(
                OutboxRow.delivered_at.is_(None), OutboxRow.abandoned_at.is_(None), OutboxRow.not_before <= func.now()
            )
            .order_by(OutboxRow.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        claimed = (
            update(OutboxRow)
            .where(OutboxRow.id.in_(due))
            .values(attempts=OutboxRow.attempts + 1, not_before=func.now() + lease)
            .returning(OutboxRow)
        )
        rows = sorted(self._session.scalars(claimed), key=lambda row: row.id)
        return [Delivery(row.id, row.delivery_id, row.callback, row.payload, row.attempts) for row in rows]

    def delivered(self, delivery: int) -> None:
        self._set(delivery, delivered_at=func.now(), last_error=None)

    def postpone(self, delivery: int, *, not_before: datetime, error: str) -> None:
        self._set(delivery, not_before=not_before, last_error=error[:2000])

    def abandon(self, delivery: int, *, error: str) -> None:
        self._set(delivery, abandoned_at=func.now(), last_error=error[:2000])

    def _set(self, delivery: int, **values: Any) -> None:
        self._session.execute(update(OutboxRow).where(OutboxRow.id == delivery).values(**values))
