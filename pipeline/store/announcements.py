"""Events that announced an upload. Each gets an answer of its own, whenever it arrives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.records import Label, UploadEvent, UploadState
from pipeline.review.items import Item
from pipeline.store.models import AnnouncementRow, OutboxRow, UploadRow
from pipeline.store.verdicts import NOTICE, Verdicts, payload

GRACE = timedelta(minutes=1)
"""In which whoever takes a decision back at the last moment comes to an end."""
REVIEW = "review"
"""What a webhook is about that says what people decided."""


def announce(session: Session, upload: UploadRow, event: UploadEvent) -> None:
    """Keep the event beside its upload, whose row the caller holds. After the verdict, it is answered at once."""
    announcement = session.scalars(
        insert(AnnouncementRow)
        .values(upload_id=upload.id, event_id=event.event_id, callback=event.callback)
        .on_conflict_do_nothing(index_elements=["upload_id", "event_id"])
        .returning(AnnouncementRow.id)
    ).one_or_none()
    if announcement is not None and upload.state == UploadState.DONE:
        answer(session, upload.id, AnnouncementRow.id == announcement)


def answer(session: Session, upload_id: int, which: ColumnElement[bool] | None = None) -> None:
    """One webhook for each of the upload's announcements that asks for one; those that have theirs are left alone."""
    asking = select(AnnouncementRow).where(
        AnnouncementRow.upload_id == upload_id,
        AnnouncementRow.callback.is_not(None),
        true() if which is None else which,
    )
    announcements = session.scalars(asking.order_by(AnnouncementRow.id)).all()
    view = Verdicts(session).of_upload(upload_id) if announcements else None
    if view is None:
        return
    rows = [
        {
            "verdict_id": view.verdict_id,
            "announcement_id": one.id,
            "callback": one.callback,
            "payload": payload(view, one.event_id),
        }
        for one in announcements
    ]
    session.execute(insert(OutboxRow).values(rows).on_conflict_do_nothing())


def announce_review(session: Session, item: Item, outcome: Label, *, after: timedelta) -> None:
    """One webhook that says what people decided, for each of the upload's announcements that asks for one."""
    asking = select(AnnouncementRow).where(
        AnnouncementRow.upload_id == item.upload_id, AnnouncementRow.callback.is_not(None)
    )
    announcements = session.scalars(asking.order_by(AnnouncementRow.id)).all()
    if not announcements:
        return
    said = _review(session, item, outcome)
    rows = [
        {
            "verdict_id": item.verdict_id,
            "announcement_id": one.id,
            "about": REVIEW,
            "callback": one.callback,
            "payload": {**said, "event_id": one.event_id},
            "not_before": func.now() + after + GRACE,
        }
        for one in announcements
    ]
    session.execute(insert(OutboxRow).values(rows))


def _review(session: Session, item: Item, outcome: Label) -> dict[str, Any]:
    upload = session.get_one(UploadRow, item.upload_id)
    return {
        "type": REVIEW,
        "bucket": upload.bucket,
        "key": upload.object_key,
        "surface": item.surface,
        "purpose": item.purpose.value,
        "outcome": outcome.value,
        "decided_at": session.scalars(select(func.now())).one().isoformat(),
        "notice": NOTICE,
    }


def withdraw_review(session: Session, item: Item) -> None:
    """Forget the webhooks about what is decided no longer, as long as nobody tried to send them."""
    session.execute(
        delete(OutboxRow).where(
            OutboxRow.verdict_id == item.verdict_id,
            OutboxRow.about == REVIEW,
            OutboxRow.payload["purpose"].astext == item.purpose,
            OutboxRow.attempts == 0,
            OutboxRow.delivered_at.is_(None),
        )
    )
