"""The review queue: items, decisions, and the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.errors import Conflict, NotFound
from pipeline.store.models_ops import AuditRow
from pipeline.store.models_review import DecisionRow, ReviewItemRow
from pipeline.store.verdicts import Verdicts, VerdictView


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """An `unsure` verdict that waits for a person, with its evidence."""

    id: int
    state: str
    created_at: datetime
    verdict: VerdictView | None
    """None where a newer model has answered since."""


class Reviews:
    def __init__(self, session: Session) -> None:
        self._session = session

    def waiting(self, *, surface: str | None = None, limit: int = 50) -> list[ReviewItem]:
        """Open items, oldest first."""
        rows = select(ReviewItemRow).where(ReviewItemRow.state == "open").order_by(ReviewItemRow.id).limit(limit)
        if surface is not None:
            rows = rows.where(ReviewItemRow.surface == surface)
        return [self._to_item(row) for row in self._session.scalars(rows)]

    def get(self, item_id: int) -> ReviewItem:
        return self._to_item(self._row(item_id))

    def decide(self, item_id: int, *, reviewer: str, label: str, note: str) -> int:
        """Append a decision and close the item; returns the decision's id.

        A second reviewer may add a decision to a decided item: two who agree make a verified photograph.

        Raises:
            NotFound: no such item.
            Conflict: this reviewer decided it before, or a newer model answered meanwhile.
        """
        row = self._row(item_id, lock=True)
        if row.state == "withdrawn":
            raise Conflict(f"review item {item_id} was withdrawn: a newer model has answered, or the object is gone")
        mine = (DecisionRow.review_item_id == item_id) & (DecisionRow.reviewer == reviewer)
        if self._session.scalars(select(DecisionRow.id).where(mine)).first() is not None:
            raise Conflict(f"{reviewer} has decided review item {item_id} already")
        decision = self._session.scalars(
            insert(DecisionRow)
            .values(review_item_id=item_id, sha256=row.sha256, reviewer=reviewer, label=label, note=note)
            .returning(DecisionRow.id)
        ).one()
        if row.state == "open":
            row.state, row.closed_at = "decided", func.now()
        self.audit(reviewer, "review.decided", f"review_item:{item_id}", {"label": label, "note": note})
        return decision

    def audit(self, actor: str, action: str, subject: str, detail: dict[str, Any]) -> None:
        """Append to the audit log."""
        self._session.add(AuditRow(actor=actor, action=action, subject=subject, detail=detail))
        self._session.flush()

    def _row(self, item_id: int, *, lock: bool = False) -> ReviewItemRow:
        row = self._session.get(ReviewItemRow, item_id, with_for_update=lock or None)
        if row is None:
            raise NotFound(f"review item {item_id}")
        return row

    def _to_item(self, row: ReviewItemRow) -> ReviewItem:
        verdict = Verdicts(self._session).of_upload(row.upload_id)
        if verdict is not None and verdict.verdict_id != row.verdict_id:
            verdict = None
        return ReviewItem(row.id, row.state, row.created_at, verdict)
