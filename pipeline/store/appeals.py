"""Appeals against verdicts."""

from __future__ import annotations

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from pipeline.errors import NotFound
from pipeline.records import ItemState, Label, Purpose
from pipeline.review.items import Appeal
from pipeline.store.models import UploadRow
from pipeline.store.models_review import AppealRow, ReviewItemRow
from pipeline.store.verdict_items import open_item


class Appeals:
    """Implements `review.appeals.AppealStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def surface_of(self, upload_id: int) -> str:
        surface = self._session.scalars(select(UploadRow.surface).where(UploadRow.id == upload_id)).one_or_none()
        if surface is None:
            raise NotFound(f"upload {upload_id}")
        return surface

    def open(
        self, upload_id: int, *, statement: str, appellant: str | None, submitted_by: str, decisions_needed: int
    ) -> Appeal:
        item_id = open_item(self._session, upload_id, Purpose.APPEAL, decisions_needed=decisions_needed)
        row = AppealRow(
            review_item_id=item_id,
            upload_id=upload_id,
            appellant=appellant,
            statement=statement,
            submitted_by=submitted_by,
        )
        self._session.add(row)
        self._session.flush()
        return self.get(row.id)

    def get(self, appeal_id: int) -> Appeal:
        """Raises NotFound."""
        row = self._session.execute(_appeals().where(AppealRow.id == appeal_id)).one_or_none()
        if row is None:
            raise NotFound(f"appeal {appeal_id}")
        return _to_appeal(*row)

    def of_item(self, item_id: int) -> Appeal | None:
        row = self._session.execute(_appeals().where(AppealRow.review_item_id == item_id)).one_or_none()
        return _to_appeal(*row) if row else None


def _appeals() -> Select[AppealRow, ReviewItemRow]:
    return select(AppealRow, ReviewItemRow).join(ReviewItemRow, ReviewItemRow.id == AppealRow.review_item_id)


def _to_appeal(row: AppealRow, item: ReviewItemRow) -> Appeal:
    return Appeal(
        id=row.id,
        item_id=item.id,
        upload_id=row.upload_id,
        statement=row.statement,
        appellant=row.appellant,
        submitted_by=row.submitted_by,
        created_at=row.created_at,
        state=ItemState(item.state),
        outcome=Label(item.outcome) if item.outcome else None,
        decided_at=item.closed_at if item.outcome else None,
    )
