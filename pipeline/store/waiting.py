"""What waits for a person, counted as far as it matters to somebody who decides where to start."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from pipeline.records import ItemState, Purpose
from pipeline.store.models import DeadLetterRow
from pipeline.store.models_review import ReviewItemRow

MOST = 1000
"""Counted; above it the answer is "at least so many", whatever the table's size."""


@dataclass(frozen=True, slots=True)
class Pile:
    count: int
    """At most `MOST`."""
    oldest: datetime | None

    @property
    def is_higher(self) -> bool:
        """There may be more than `count`."""
        return self.count >= MOST


class Waiting:
    def __init__(self, session: Session) -> None:
        self._session = session

    def for_review(self) -> Pile:
        """Open items, without appeals, and without golden ones, which reviewers must not know of."""
        unsure, sample = (self._open(purpose) for purpose in (Purpose.UNSURE, Purpose.SAMPLE))
        oldest = min((pile.oldest for pile in (unsure, sample) if pile.oldest), default=None)
        return Pile(min(MOST, unsure.count + sample.count), oldest)

    def appeals(self) -> Pile:
        return self._open(Purpose.APPEAL)

    def disputes(self) -> Pile:
        return self._pile(ReviewItemRow.id, ReviewItemRow.created_at, ReviewItemRow.state == ItemState.DISPUTED)

    def dead_letters(self) -> Pile:
        return self._pile(DeadLetterRow.upload_id, DeadLetterRow.created_at, DeadLetterRow.resolved_at.is_(None))

    def _open(self, purpose: Purpose) -> Pile:
        is_open = ReviewItemRow.state == ItemState.OPEN
        return self._pile(ReviewItemRow.id, ReviewItemRow.created_at, is_open, ReviewItemRow.purpose == purpose)

    def _pile(
        self, order: InstrumentedAttribute[Any], since: InstrumentedAttribute[datetime], *which: ColumnElement[bool]
    ) -> Pile:
        first = select(since.label("since")).where(*which).order_by(order).limit(MOST).subquery()
        count, oldest = self._session.execute(select(func.count(), func.min(first.c.since))).one()
        return Pile(count, oldest)
