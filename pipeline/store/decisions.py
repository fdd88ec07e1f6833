"""What reviewers said, what was taken back, and what came of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Interval, Select, exists, extract, func, insert, select, type_coerce, update
from sqlalchemy.orm import Session

from pipeline.records import ItemState, Label, Purpose
from pipeline.review.items import Given, Item, Outcome, Reason
from pipeline.store.announcements import announce_review, withdraw_review
from pipeline.store.effective import NOT_RETRACTED, agreed, said
from pipeline.store.models import EmbeddingRow, VerdictRow
from pipeline.store.models_review import DecisionRow, RetractionRow, ReviewItemRow


class Decisions:
    """Implements `review.ports.DecisionStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self, item: Item, *, reviewer: str, label: Label, reason: Reason | None, note: str, is_final: bool
    ) -> Given:
        shown = item.held_by == reviewer and item.held_since is not None
        seconds = extract("epoch", func.now() - item.held_since) if shown else None
        values = {"review_item_id": item.id, "sha256": item.sha256, "seconds": seconds, "is_final": is_final}
        said = {"reviewer": reviewer, "label": label, "reason": reason, "note": note}
        row = insert(DecisionRow).values(**values, **said).returning(DecisionRow)
        return _to_given(self._session.scalars(row).one(), timedelta(0))

    def given(self, item_id: int) -> list[Given]:
        rows = _given().where(DecisionRow.review_item_id == item_id, NOT_RETRACTED).order_by(DecisionRow.id)
        return [_to_given(*row) for row in self._session.execute(rows)]

    def last(self, reviewer: str) -> Given | None:
        rows = _given().where(DecisionRow.reviewer == reviewer, NOT_RETRACTED).order_by(DecisionRow.id.desc())
        row = self._session.execute(rows.limit(1)).one_or_none()
        return _to_given(*row) if row else None

    def retract(self, decision_id: int) -> None:
        self._session.execute(insert(RetractionRow).values(decision_id=decision_id))

    def settle(self, item_id: int, state: ItemState, outcome: Label | None) -> None:
        nobody: dict[str, Any] = {"held_by": None, "held_since": None, "held_until": None}
        closed_at = func.now() if state is ItemState.DECIDED else None
        values = {"state": state, "outcome": outcome, "closed_at": closed_at, **nobody}
        self._session.execute(update(ReviewItemRow).where(ReviewItemRow.id == item_id).values(values))

    def verify(self, sha256: str, *, reviewers_needed: int) -> None:
        self._verify(EmbeddingRow.sha256 == sha256, reviewers_needed)

    def verify_all(self, *, reviewers_needed: int) -> None:
        """`verify` every image that anybody decided about: other encoders, settings, and simultaneous decisions change
        it where no single decision does."""
        self._verify(EmbeddingRow.sha256.in_(select(DecisionRow.sha256)), reviewers_needed)

    def _verify(self, which: ColumnElement[bool], reviewers_needed: int) -> None:
        here = DecisionRow.sha256 == EmbeddingRow.sha256
        agreed_on = exists(agreed(Label.CAMERA, reviewers_needed).where(here))
        is_photo = agreed_on & ~exists(said(Label.NOT_CAMERA).where(here))
        stale = update(EmbeddingRow).where(which, EmbeddingRow.is_verified != is_photo)
        self._session.execute(
            stale.values(is_verified=~EmbeddingRow.is_verified), execution_options={"synchronize_session": False}
        )

    def announce(self, item: Item, outcome: Label, *, after: timedelta) -> None:
        announce_review(self._session, item, outcome, after=after)

    def withdraw_announcement(self, item: Item) -> None:
        withdraw_review(self._session, item)

    def outcome_of(self, upload_id: int) -> Outcome | None:
        """What people decided last about the bytes that the upload's current verdict is on."""
        decided = (
            select(ReviewItemRow.outcome, ReviewItemRow.closed_at)
            .join(
                VerdictRow,
                (VerdictRow.upload_id == ReviewItemRow.upload_id) & (VerdictRow.sha256 == ReviewItemRow.sha256),
            )
            .where(
                ReviewItemRow.upload_id == upload_id,
                ReviewItemRow.state == ItemState.DECIDED,
                ReviewItemRow.outcome.is_not(None),
                ReviewItemRow.purpose != Purpose.GOLDEN,
                VerdictRow.superseded_at.is_(None),
            )
            .order_by(ReviewItemRow.closed_at.desc(), ReviewItemRow.id.desc())
            .limit(1)
        )
        row = self._session.execute(decided).one_or_none()
        return Outcome(Label(row.outcome), row.closed_at) if row else None


def _given() -> Select[DecisionRow, timedelta]:
    return select(DecisionRow, type_coerce(func.now() - DecisionRow.created_at, Interval()).label("age"))


def _to_given(row: DecisionRow, age: timedelta) -> Given:
    return Given(
        id=row.id,
        item_id=row.review_item_id,
        reviewer=row.reviewer,
        label=Label(row.label),
        reason=Reason(row.reason) if row.reason else None,
        note=row.note,
        seconds=row.seconds,
        is_final=row.is_final,
        created_at=row.created_at,
        age=age,
    )
