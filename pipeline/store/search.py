"""Find uploads by what the platform knows them by. Every page is read from one index, from where the last one ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.orm import Session

from pipeline.records import UploadState, VerdictKind
from pipeline.store.models import AnnouncementRow, UploadRow, VerdictRow

LAST_CHARACTER = "\U0010ffff"
"""Sorts after every other one, in the keys' collation."""


@dataclass(frozen=True, slots=True)
class FoundUpload:
    """A line of the search page."""

    id: int
    bucket: str
    key: str
    surface: str
    uploader_id: str | None
    uploaded_at: datetime
    deleted_at: datetime | None
    state: UploadState
    kind: VerdictKind | None


class Search:
    """`after`: id of the last upload of the page before; 0: the first page."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def by_key(self, bucket: str, prefix: str, *, after: int = 0, limit: int) -> list[FoundUpload]:
        """In the order of the keys; those of one key in that of their versions' names."""
        order = (UploadRow.object_key, UploadRow.identity)
        found = select(UploadRow.id).where(
            UploadRow.bucket == bucket,
            UploadRow.object_key >= prefix,
            UploadRow.object_key < prefix + LAST_CHARACTER,
        )
        if after:
            last = select(*order).where(UploadRow.id == after)
            found = found.where(tuple_(*order) > last.scalar_subquery())
        return self._shown(found.order_by(*order).limit(limit))

    def by_uploader(self, uploader_id: str, *, after: int = 0, limit: int) -> list[FoundUpload]:
        return self._newest(UploadRow.uploader_id == uploader_id, after, limit)

    def by_sha256(self, sha256: str, *, after: int = 0, limit: int) -> list[FoundUpload]:
        return self._newest(UploadRow.sha256 == sha256, after, limit)

    def by_event(self, event_id: str, *, after: int = 0, limit: int) -> list[FoundUpload]:
        announced = select(AnnouncementRow.upload_id).where(AnnouncementRow.event_id == event_id)
        return self._newest(UploadRow.id.in_(announced), after, limit)

    def _newest(self, which: ColumnElement[bool], after: int, limit: int) -> list[FoundUpload]:
        found = select(UploadRow.id).where(which)
        if after:
            found = found.where(UploadRow.id < after)
        return self._shown(found.order_by(UploadRow.id.desc()).limit(limit))

    def _shown(self, ids: Select[int]) -> list[FoundUpload]:
        """The uploads of these ids, in their order."""
        wanted = self._session.scalars(ids).all()
        rows = self._session.execute(
            select(UploadRow, VerdictRow.kind)
            .outerjoin(VerdictRow, (VerdictRow.upload_id == UploadRow.id) & VerdictRow.superseded_at.is_(None))
            .where(UploadRow.id.in_(wanted))
        )
        found = {row.id: _to_found(row, kind) for row, kind in rows}
        return [found[upload_id] for upload_id in wanted]


def _to_found(row: UploadRow, kind: str | None) -> FoundUpload:
    return FoundUpload(
        id=row.id,
        bucket=row.bucket,
        key=row.object_key,
        surface=row.surface,
        uploader_id=row.uploader_id,
        uploaded_at=row.uploaded_at,
        deleted_at=row.deleted_at,
        state=UploadState(row.state),
        kind=VerdictKind(kind) if kind else None,
    )
