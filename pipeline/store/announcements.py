"""Events that announced an upload. Each gets an answer of its own, whenever it arrives."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.records import UploadEvent, UploadState
from pipeline.store.models import AnnouncementRow, OutboxRow, UploadRow
from pipeline.store.verdicts import Verdicts, payload


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
