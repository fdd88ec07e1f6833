"""The ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_, union, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.errors import NotFound
from pipeline.records import EventKind, Lane, Upload, UploadEvent, UploadState
from pipeline.store.announcements import announce
from pipeline.store.chosen import once
from pipeline.store.models import AnnouncementRow, DeletionRow, MediaRow, UploadRow
from pipeline.store.models_review import ReviewItemRow
from pipeline.store.order import deletion_of, ends, lock_keys, matching, moment_of, newest_live
from pipeline.store.queue import withdraw

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
        self._held: set[tuple[str, str]] = set()
        """Keys (bucket, key) that this transaction has locked."""

    def lock(self, events: Iterable[UploadEvent]) -> None:
        """Hold these events' keys until the transaction ends. A batch does it first, for all that it will record."""
        wanted = {(event.bucket, event.key) for event in events} - self._held
        if wanted:
            lock_keys(self._session, wanted)
            self._held |= wanted

    def record_new(self, events: Sequence[UploadEvent]) -> dict[UploadEvent, Upload]:
        """Record, together, those that announce a key of which nothing is known: nearly all are such.

        `record` and `delete` have to look at the others one by one, and in order.
        """
        self.lock(events)
        named = Counter((event.bucket, event.key) for event in events)
        known = self._known(named)
        new = {
            event: _new_row(event)
            for event in events
            for key in [(event.bucket, event.key)]
            if event.kind is EventKind.CREATED and named[key] == 1 and key not in known
        }
        self._session.add_all(new.values())
        self._session.flush()
        self._session.add_all(
            AnnouncementRow(upload_id=row.id, event_id=event.event_id, callback=event.callback)
            for event, row in new.items()
        )
        self._session.flush()
        return {event: to_upload(row) for event, row in new.items()}

    def _known(self, keys: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Which of these keys (bucket, key) an upload or a deletion has named before."""
        wanted = list(keys)
        of = [
            select(row.bucket, row.object_key).where(tuple_(row.bucket, row.object_key).in_(wanted))
            for row in (UploadRow, DeletionRow)
        ]
        return {(bucket, key) for bucket, key in self._session.execute(union(*of))}

    def record(self, event: UploadEvent) -> tuple[Upload, bool]:
        self.lock([event])
        row = matching(self._session, event)
        if row is None:
            row, starts = self._insert(event), True
        else:
            starts = self._take_over(row, event)
        announce(self._session, row, event)
        return to_upload(row), starts

    def delete(self, event: UploadEvent) -> int:
        """Write down what a `deleted` event says, and close the uploads that it ends; returns how many.

        Those that wait for a verdict get theirs without a look at the object.
        """
        self.lock([event])
        deletion = self._session.scalars(
            insert(DeletionRow)
            .values(
                bucket=event.bucket,
                object_key=event.key,
                version_id=event.version_id,
                event_id=event.event_id,
                sequencer=event.sequencer,
                deleted_at=event.uploaded_at,
            )
            .on_conflict_do_nothing()
            .returning(DeletionRow)
        ).one_or_none()
        if deletion is None:
            return 0
        still_there = or_(UploadRow.deleted_at.is_(None), UploadRow.deleted_at > event.uploaded_at)
        rows = self._session.scalars(
            select(UploadRow)
            .where(UploadRow.bucket == event.bucket, UploadRow.object_key == event.key, still_there)
            .order_by(UploadRow.id)
            .with_for_update()
        )
        ended = [row for row in rows if ends(deletion, row)]
        for row in ended:
            self._close(row, event.uploaded_at)
        return len(ended)

    def _insert(self, event: UploadEvent) -> UploadRow:
        row = _new_row(event)
        row.deleted_at = deletion_of(self._session, row)
        self._session.add(row)
        self._session.flush()
        return row

    def _take_over(self, row: UploadRow, event: UploadEvent) -> bool:
        """Learn what a further announcement says; True where the row starts over, for the object was put again."""
        if row.version_id is None and event.version_id is not None:
            row.version_id, row.identity = event.version_id, event.identity
        row.etag = row.etag or event.etag
        was_sequenced, was_deleted = row.sequencer is not None, row.deleted_at is not None
        is_newer = event.moment.follows(moment_of(row))
        if is_newer:
            row.sequencer, row.uploaded_at = event.sequencer, event.uploaded_at
        # What deleted an old row may be forgotten by now, so only news opens it again.
        deleted_at = deletion_of(self._session, row) or (None if is_newer else row.deleted_at)
        if deleted_at is not None:
            self._close(row, deleted_at)
            return False
        row.deleted_at = None
        put_again = was_deleted or (is_newer and was_sequenced and event.sequencer is not None)
        if put_again and row.state == UploadState.DONE:  # its bytes may have been judged while the key held others
            self._start_over(row)
            return True
        self._session.flush()
        return False

    def _close(self, row: UploadRow, deleted_at: datetime) -> None:
        row.deleted_at = deleted_at
        if row.not_before is not None:
            row.not_before = func.now()
        self._session.flush()
        withdraw(self._session, ReviewItemRow.upload_id == row.id)
        media = self._session.get(MediaRow, row.sha256, with_for_update=True) if row.sha256 else None
        if media is not None and media.drawn_at is not None:
            media.left_at = func.now()
            self._session.flush()

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

    def retry(self, upload_id: int, *, not_before: datetime, error: str) -> None:
        self._wait(self._locked(upload_id), not_before, error)

    def postpone(self, upload_id: int, *, not_before: datetime, error: str) -> None:
        row = self._locked(upload_id)
        row.attempts, row.postponements = max(0, row.attempts - 1), row.postponements + 1
        self._wait(row, not_before, error)

    def requeue(self, upload_id: int) -> Upload:
        """Start over, with all attempts: a person replays a dead letter, or a newer model is to score it."""
        row = self._locked(upload_id)
        self._start_over(row)
        return to_upload(row)

    def _start_over(self, row: UploadRow) -> None:
        row.state, row.attempts, row.postponements, row.not_before = UploadState.QUEUED, 0, 0, None
        row.queued_at = row.updated_at = func.now()
        self._session.flush()

    def _wait(self, row: UploadRow, not_before: datetime, error: str) -> None:
        row.state, row.not_before, row.last_error = UploadState.QUEUED, not_before, error[:2000]
        row.updated_at = func.now()
        self._session.flush()

    def claim_due(self, stale_after: timedelta, *, limit: int) -> list[Upload]:
        """Rows that no message can stand for: their wait is over, or nobody has touched them for `stale_after` since
        an attempt began, and so its worker is dead. Takes them, so that the next call finds others; rows that somebody
        holds are passed over."""
        waited = and_(UploadRow.state == UploadState.QUEUED, UploadRow.not_before <= func.now())
        abandoned = and_(UploadRow.state == UploadState.SCORING, UploadRow.updated_at < func.now() - stale_after)
        return self._claim(or_(waited, abandoned), limit)

    def claim_silent(self, lane: Lane, stale_after: timedelta, *, limit: int) -> list[Upload]:
        """Queued rows that nobody has touched for `stale_after`, longest first. Whether their messages were lost, or
        only wait behind others, the caller has to know. Touches them, so that the next call finds others."""
        silent = and_(self._ready(lane), UploadRow.updated_at < func.now() - stale_after)
        return self._claim(silent, limit)

    def count_ready(self, lane: Lane) -> int:
        """Rows that wait for nothing but a worker: as many messages should be on the lane's queue."""
        return self._session.scalars(select(func.count()).select_from(UploadRow).where(self._ready(lane))).one()

    def _claim(self, which: ColumnElement[bool], limit: int) -> list[Upload]:
        chosen = (
            select(UploadRow.id)
            .where(UploadRow.state.in_(UNFINISHED), which)
            .order_by(UploadRow.updated_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        values: dict[str, Any] = {"state": UploadState.QUEUED, "not_before": None, "updated_at": func.now()}
        touched = update(UploadRow).where(UploadRow.id.in_(once(chosen))).values(values).returning(UploadRow)
        return [to_upload(row) for row in self._session.scalars(touched)]

    @staticmethod
    def _ready(lane: Lane) -> ColumnElement[bool]:
        return and_(UploadRow.state == UploadState.QUEUED, UploadRow.lane == lane, UploadRow.not_before.is_(None))

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

    def hold(self, upload_id: int) -> Upload:
        """The row, locked until the transaction ends. Raises `NotFound`."""
        return to_upload(self._locked(upload_id))

    def find(self, event_id: str) -> list[Upload]:
        """Uploads that an event of this id announced, newest first."""
        announced = select(AnnouncementRow.upload_id).where(AnnouncementRow.event_id == event_id)
        rows = self._session.scalars(select(UploadRow).where(UploadRow.id.in_(announced)).order_by(UploadRow.id.desc()))
        return [to_upload(row) for row in rows]

    def newest(self, bucket: str, key: str) -> Upload:
        """The upload that the object is now, in S3's order, not in that of arrival.

        Raises:
            NotFound: no upload has this key, or the object was deleted.
        """
        row = newest_live(self._session, bucket, key)
        if row is None:
            of_key = (UploadRow.bucket == bucket) & (UploadRow.object_key == key)
            deleted_at = self._session.scalars(select(func.max(UploadRow.deleted_at)).where(of_key)).one()
            why = f"was deleted at {deleted_at:%Y-%m-%dT%H:%M:%SZ}" if deleted_at else "was never announced"
            raise NotFound(f"object {key!r} in bucket {bucket!r} {why}")
        return to_upload(row)

    def _locked(self, upload_id: int) -> UploadRow:
        row = self._session.get(UploadRow, upload_id, with_for_update=True)
        if row is None:
            raise NotFound(f"upload {upload_id}")
        return row


def _new_row(event: UploadEvent) -> UploadRow:
    return UploadRow(
        **event.model_dump(exclude={"schema_version", "kind", "key", "lane"}),
        object_key=event.key,
        lane=event.lane.value,
        identity=event.identity,
    )


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
    return Upload(
        id=row.id,
        event=event,
        state=UploadState(row.state),
        attempts=row.attempts,
        received_at=row.received_at,
        queued_at=row.queued_at,
        postponements=row.postponements,
        deleted_at=row.deleted_at,
    )
