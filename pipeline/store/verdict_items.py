"""Items that somebody asks for: what a review item copies from an upload's current verdict."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.errors import Conflict, NotFound
from pipeline.records import Purpose
from pipeline.store.models import ExifRow, MediaRow, ScoreRow, UploadRow, VerdictRow
from pipeline.store.models_review import ReviewItemRow


def open_item(session: Session, upload_id: int, purpose: Purpose, **more: Any) -> int:
    """A new item about the upload's current verdict; its id.

    Raises:
        NotFound: no such upload.
        Conflict: it has no verdict on any bytes, or an item of this purpose about its verdict.
    """
    if session.get(UploadRow, upload_id) is None:
        raise NotFound(f"upload {upload_id}")
    copied = session.execute(
        select(
            VerdictRow.id.label("verdict_id"),
            UploadRow.id.label("upload_id"),
            VerdictRow.sha256,
            UploadRow.surface,
            UploadRow.lane,
            VerdictRow.kind,
            MediaRow.format,
            ExifRow.make.label("camera_make"),
            VerdictRow.model_version_id,
            ScoreRow.p_value,
        )
        .join(UploadRow, UploadRow.id == VerdictRow.upload_id)
        .outerjoin(MediaRow, MediaRow.sha256 == VerdictRow.sha256)
        .outerjoin(ExifRow, ExifRow.sha256 == VerdictRow.sha256)
        .outerjoin(
            ScoreRow,
            (ScoreRow.sha256 == VerdictRow.sha256) & (ScoreRow.model_version_id == VerdictRow.model_version_id),
        )
        .where(VerdictRow.upload_id == upload_id, VerdictRow.superseded_at.is_(None), VerdictRow.sha256.is_not(None))
    ).one_or_none()
    if copied is None:
        raise Conflict(f"upload {upload_id} has no verdict on its bytes")
    item = insert(ReviewItemRow).values(**copied._asdict(), purpose=purpose, **more)
    opened = session.scalars(item.on_conflict_do_nothing().returning(ReviewItemRow.id)).one_or_none()
    if opened is None:
        raise Conflict(f"there is an item of purpose {purpose.value} about this verdict of upload {upload_id} already")
    return opened
