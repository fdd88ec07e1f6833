"""Webhooks that wait to be sent, and those that were sent or given up on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, true, update
from sqlalchemy.orm import Session

from pipeline.errors import NotFound
from pipeline.store.chosen import once
from pipeline.store.models import OutboxRow
from pipeline.store.models_ops import AuditRow


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
    since: datetime
    """When the first of these attempts could be made."""


class DeliveryState(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A delivery, as people see it."""

    delivery_id: UUID
    callback: str
    state: DeliveryState
    attempts: int
    """Since it was written, or last replayed."""
    last_error: str | None
    not_before: datetime
    """Of the next try, where it waits."""
    created_at: datetime
    replayed_at: datetime | None
    delivered_at: datetime | None
    abandoned_at: datetime | None
    payload: dict[str, Any]


class Outbox:
    def __init__(self, session: Session) -> None:
        self._session = session

    def claim(self, *, limit: int, lease: timedelta) -> list[Delivery]:
        """Deliveries that are due, oldest first; nobody else gets them before `lease` is over."""
        due = (
            select(OutboxRow.id)
            .where(_is(DeliveryState.WAITING), OutboxRow.not_before <= func.now())
            .order_by(OutboxRow.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        claimed = (
            update(OutboxRow)
            .where(OutboxRow.id.in_(once(due)))
            .values(attempts=OutboxRow.attempts + 1, not_before=func.now() + lease)
            .returning(OutboxRow)
        )
        rows = sorted(self._session.scalars(claimed), key=lambda row: row.id)
        return [_to_delivery(row) for row in rows]

    def delivered(self, delivery: int) -> None:
        self._set(delivery, delivered_at=func.now(), last_error=None)

    def postpone(self, delivery: int, *, not_before: datetime, error: str) -> None:
        self._set(delivery, not_before=not_before, last_error=error[:2000])

    def abandon(self, delivery: int, *, error: str) -> None:
        self._set(delivery, abandoned_at=func.now(), last_error=error[:2000])

    def find(self, state: DeliveryState, *, callback: str | None = None, limit: int = 100) -> list[Webhook]:
        """Newest first."""
        rows = select(OutboxRow).where(_is(state), _to(callback)).order_by(OutboxRow.id.desc()).limit(limit)
        return [_to_webhook(row) for row in self._session.scalars(rows)]

    def get(self, delivery_id: UUID) -> Webhook:
        """Raises NotFound."""
        return _to_webhook(self._row(delivery_id))

    def replay(self, delivery_id: UUID, *, actor: str) -> None:
        """Send it again, whatever became of it, under the same id. Raises NotFound."""
        self._replay([self._row(delivery_id)], actor)

    def replay_abandoned(self, callback: str, *, limit: int, actor: str) -> int:
        """Send again what its endpoint was away for too long to get, oldest first; returns how many those are."""
        rows = select(OutboxRow).where(_is(DeliveryState.ABANDONED), _to(callback)).order_by(OutboxRow.id).limit(limit)
        found = self._session.scalars(rows.with_for_update(skip_locked=True)).all()
        self._replay(found, actor)
        return len(found)

    def _replay(self, rows: Sequence[OutboxRow], actor: str) -> None:
        for row in rows:
            detail = {"was": _state(row), "attempts": row.attempts, "last_error": row.last_error}
            self._session.add(
                AuditRow(actor=actor, action="webhook.replayed", subject=f"webhook:{row.delivery_id}", detail=detail)
            )
            row.delivered_at = row.abandoned_at = row.last_error = None
            row.attempts, row.not_before, row.replayed_at = 0, func.now(), func.now()
        self._session.flush()

    def _row(self, delivery_id: UUID) -> OutboxRow:
        row = self._session.scalar(select(OutboxRow).where(OutboxRow.delivery_id == delivery_id).with_for_update())
        if row is None:
            raise NotFound(f"webhook {delivery_id}")
        return row

    def _set(self, delivery: int, **values: Any) -> None:
        self._session.execute(update(OutboxRow).where(OutboxRow.id == delivery).values(**values))


def _is(state: DeliveryState) -> ColumnElement[bool]:
    delivered, abandoned = OutboxRow.delivered_at.is_not(None), OutboxRow.abandoned_at.is_not(None)
    return {
        DeliveryState.WAITING: ~delivered & ~abandoned,
        DeliveryState.DELIVERED: delivered,
        DeliveryState.ABANDONED: abandoned,
    }[state]


def _to(callback: str | None) -> ColumnElement[bool]:
    return true() if callback is None else OutboxRow.callback == callback


def _state(row: OutboxRow) -> DeliveryState:
    if row.delivered_at is not None:
        return DeliveryState.DELIVERED
    return DeliveryState.WAITING if row.abandoned_at is None else DeliveryState.ABANDONED


def _to_delivery(row: OutboxRow) -> Delivery:
    since = row.replayed_at or row.created_at
    return Delivery(row.id, row.delivery_id, row.callback, row.payload, row.attempts, since)


def _to_webhook(row: OutboxRow) -> Webhook:
    return Webhook(
        delivery_id=row.delivery_id,
        callback=row.callback,
        state=_state(row),
        attempts=row.attempts,
        last_error=row.last_error,
        not_before=row.not_before,
        created_at=row.created_at,
        replayed_at=row.replayed_at,
        delivered_at=row.delivered_at,
        abandoned_at=row.abandoned_at,
        payload=row.payload,
    )
