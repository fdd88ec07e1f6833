"""Golden items: added, listed with how reviewers answered them, taken out."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from pipeline.errors import NotFound
from pipeline.records import ItemState, Label, Purpose
from pipeline.review.items import Golden
from pipeline.store.audit import audit
from pipeline.store.effective import NOT_RETRACTED
from pipeline.store.models import UploadRow
from pipeline.store.models_review import DecisionRow, ReviewItemRow
from pipeline.store.verdict_items import open_item


class GoldenItems:
    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, upload_id: int, label: Label, *, actor: str) -> int:
        """Mix an upload whose answer is known into the queue; returns its item. Audited.

        Raises:
            NotFound: no such upload.
            Conflict: it has no verdict on any bytes, or is golden already.
        """
        item_id = open_item(self._session, upload_id, Purpose.GOLDEN, golden_label=label)
        audit(self._session, actor, "golden.added", f"review_item:{item_id}", label=label.value)
        return item_id

    def remove(self, item_id: int, *, actor: str) -> None:
        """Show it no more; what reviewers answered stays. Audited. Raises NotFound."""
        golden = (ReviewItemRow.id == item_id) & _is_golden()
        ended = {"state": ItemState.WITHDRAWN, "closed_at": func.now(), "held_by": None, "held_until": None}
        done = self._session.scalars(update(ReviewItemRow).where(golden).values(ended).returning(ReviewItemRow.id))
        if done.one_or_none() is None:
            raise NotFound(f"golden item {item_id}")
        audit(self._session, actor, "golden.removed", f"review_item:{item_id}")

    def list_all(self) -> list[Golden]:
        """Oldest first. Answers of `cant_tell` are answers, too, and right where the item is that."""
        right = func.count().filter(DecisionRow.label == ReviewItemRow.golden_label)
        answers = (
            select(func.count().label("answers"), right.label("right"))
            .where(DecisionRow.review_item_id == ReviewItemRow.id, NOT_RETRACTED)
            .correlate(ReviewItemRow)
            .lateral()
        )
        rows = self._session.execute(
            select(ReviewItemRow, UploadRow.object_key, answers.c.answers, answers.c.right)
            .join(UploadRow, UploadRow.id == ReviewItemRow.upload_id)
            .join(answers, ReviewItemRow.id.is_not(None))
            .where(_is_golden())
            .order_by(ReviewItemRow.id)
        )
        return [
            Golden(row.id, row.upload_id, key, Label(row.golden_label), count, good) for row, key, count, good in rows
        ]


def _is_golden() -> ColumnElement[bool]:
    return (ReviewItemRow.purpose == Purpose.GOLDEN) & (ReviewItemRow.state == ItemState.OPEN)
