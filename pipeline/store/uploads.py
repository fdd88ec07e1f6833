"""The ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.errors import NotFound
from pipeline.records import Lane, Upload, UploadEvent, UploadState
from pipeline.store.models import UploadRow

UNFINISHED = (UploadState.QUEUED, UploadState.SCORING)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Unfinished uploads of one lane."""

    count: int
    oldest: datetime


class Uploads:
    """Implements `ports.UploadStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def record(self, event: UploadEvent) -> tuple[Upload, bool]:
        statement = (
            insert(UploadRow)
            .values(
                **event.model_dump(exclude={"schema_version", "key", "lane"}),
                object_key=event.key,
                lane=event.lane.value,
                identity=event.identity,
            )
            .on_conflict_do_nothing(index_elements=["bucket", "object_key", "identity"])
            .returning(UploadRow)
        )
        row = self._session.scalars(statement).one_or_none()
        if row is not None:
            return to_upload(row), True
        present = select(UploadRow).where(
            UploadRow.bucket == event.bucket, UploadRow.object_key == event.key, UploadRow.identity == event.identity
        )
        return to_upload(self._session.scalars(present).one()), False

    def begin_attempt(self, upload_id: int) -> Upload:
        row = self._locked(upload_id)
        if row.state in UNFINISHED:
            row.state, row.attempts, row.not_before = UploadState.SCORING, row.attempts + 1, None
            row.updated_at = func.now()
            self._session.flush()
        return to_upload(row)

    def finish(self, upload_id: int, state: UploadState, *, sha256: str | None = None) -> None:
        row = self._locked(upload_id)
        row.state, row.sha256, row.not_before, row.updated_at = state, sha256, None, func.now()

    def postpone(self, upload_id: int, *, not_before: datetime, error: str) -> None:
        row = self._locked(upload_id)
        row.state, row.not_before, row.last_error = UploadState.QUEUED, not_before, error[:2000]
        row.updated_at = func.now()

    def requeue(self, upload_id: int) -> Upload:
        """Start over, with all attempts: a person replays a dead letter, or a newer model is to score it."""
        row = self._locked(upload_id)
        row.state, row.attempts, row.not_before, row.updated_at = UploadState.QUEUED, 0, None, func.now()
        self._session.flush()
        return to_upload(row)

    def claim_stale(self, stale_after: timedelta, *, limit: int) -> list[Upload]:
        """Rows whose wait is over, or that nobody has touched for `stale_after`. Touches them, so that the next call
        finds others; rows that somebody holds are passed over."""
        due = and_(UploadRow.not_before.is_not(None), UploadRow.not_before <= func.now())
        forgotten = and_(UploadRow.not_before.is_(None), UploadRow.updated_at < func.now() - stale_after)
        chosen = (
            select(UploadRow.id)
            .where(UploadRow.state.in_(UNFINISHED), or_(due, forgotten))
            .order_by(UploadRow.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        touched = (
            update(UploadRow)
            .where(UploadRow.id.in_(chosen))
            .values(state=UploadState.QUEUED, not_before=None, updated_at=func.now())
            .returning(UploadRow)
        )
        return [to_upload(row) for row in self._session.scalars(touched)]

    def backlog(self) -> dict[Lane, Backlog]:
        """Unfinished uploads per lane; lanes without any are left out."""
        rows = self._session.execute(
            select(UploadRow.lane, func.count(), func.min(UploadRow.received_at))
            .where(UploadRow.state.in_(UNFINISHED))
            .group_by(UploadRow.lane)
        )
        return {Lane(lane): Backlog(count, oldest) for lane, count, oldest in rows}

    def get(self, upload_id: int) -> Upload:
        row = self._session.get(UploadRow, upload_id)
        if row is None:
            raise NotFound(f"upload {upload_id}")
        return to_upload(row)

    def find(self, event_id: str) -> list[Upload]:
        """Uploads that an event of this id announced, newest first."""
        rows = self._session.scalars(
            select(UploadRow).where(UploadRow.event_id == event_id).order_by(UploadRow.id.desc())
        )
        return [to_upload(row) for row in rows]

    def newest(self, bucket: str, key: str) -> Upload | None:
        """The upload that the object is now, in S3's order (its sequencer), not in that of arrival.

        Where some uploads came without a sequencer, the newest of both kinds is told by its time.
        """
        of_key = select(UploadRow).where(UploadRow.bucket == bucket, UploadRow.object_key == key).limit(1)
        order = UploadRow.sequencer_order
        sequenced = of_key.where(order.is_not(None)).order_by(order.desc(), UploadRow.id.desc())
        plain = of_key.where(order.is_(None)).order_by(UploadRow.uploaded_at.desc(), UploadRow.id.desc())
        rows = [row for query in (sequenced, plain) for row in self._session.scalars(query)]
        return to_upload(max(rows, key=lambda row: row.uploaded_at)) if rows else None

    def _locked(self, upload_id: int) -> UploadRow:
        row = self._session.get(UploadRow, upload_id, with_for_update=True)
        if row is None:
            raise NotFound(f"upload {upload_id}")
        return row


def to_upload(row: UploadRow) -> Upload:
    event = UploadEvent(
        event_id=row.event_id,
        bucket=row.bucket,
        key=row.object_key,
        version_id=row.version_id,
        etag=row.etag,
        sequencer=row.sequencer,
        uploaded_at=row.uploaded_at,
        surface=row.surface,
        uploader_id=row.uploader_id,
        lane=Lane(row.lane),
        callback=row.callback,
    )
    return Upload(row.id, event, UploadState(row.state), row.attempts, row.received_at)
