"""Which rows have expired, and how they go."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, delete, exists, literal, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from pipeline.records import UploadState
from pipeline.retention import Family, Removed
from pipeline.store.base import Base
from pipeline.store.chosen import once
from pipeline.store.models import (
    DeadLetterRow,
    DeletionRow,
    EmbeddingRow,
    ExifRow,
    MediaRow,
    OutboxRow,
    UploadRow,
    VerdictRow,
)
from pipeline.store.models_ops import AuditRow, DriftSnapshotRow, ModelAliasRow, TrainingMemberRow
from pipeline.store.models_review import ReviewItemRow
from pipeline.store.removal import among, append_only_lifted, remove, tree

UPLOADS, MEDIA = Base.metadata.tables[UploadRow.__tablename__], Base.metadata.tables[MediaRow.__tablename__]


class Retention:
    """Implements `retention.RetentionStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def remove(self, family: Family, *, before: datetime, limit: int) -> Removed:
        chosen = expired(family, before, limit)
        if family is Family.UPLOADS:
            return self._remove_uploads(self._session.scalars(chosen).all())
        table: Table = _FAMILIES[family][0].__table__
        key = tuple_(*table.primary_key)
        with append_only_lifted(self._session):
            gone = self._session.execute(delete(table).where(key.in_(once(chosen))).returning(literal(1))).all()
        return Removed(+Counter({table.name: len(gone)}))

    def _remove_uploads(self, ids: Any) -> Removed:
        """With all that hangs on them, and the rows of bytes that no other upload has."""
        if not ids:
            return Removed(Counter())
        uploads = tree(self._session, UPLOADS, ids, lock=True)
        hashes = self._session.scalars(
            select(VerdictRow.sha256).where(among(VerdictRow.upload_id, ids), VerdictRow.sha256.is_not(None))
        ).all()
        removed = remove(self._session, uploads)
        unused = self._session.execute(
            select(MediaRow.sha256, MediaRow.drawn_at)
            .where(
                among(MediaRow.sha256, sorted(set(hashes))),
                ~exists().where(UploadRow.sha256 == MediaRow.sha256),
                ~exists().where(VerdictRow.sha256 == MediaRow.sha256),
            )
            .with_for_update()  # whoever draws a picture just now is waited for
        ).all()
        removed += remove(self._session, tree(self._session, MEDIA, [sha256 for sha256, _ in unused], lock=True))
        return Removed(removed, tuple(sha256 for sha256, drawn_at in unused if drawn_at is not None))


def expired(family: Family, before: datetime, limit: int) -> Select[Any]:
    """Primary keys of the family's oldest rows from before then, locked; rows that somebody holds are passed over."""
    table, age, settled = _FAMILIES[family]
    keys = [column.label(column.name) for column in table.__table__.primary_key]
    chosen = select(*keys).where(age < before, *settled).order_by(age).limit(limit)
    if age.class_ is not table:
        chosen = chosen.join(age.class_, age.class_.sha256 == table.sha256)
    return chosen.with_for_update(skip_locked=True, of=table)


def _in_training(sha256: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Champion or challenger was made from these bytes: while it serves, an erasure must be able to say so."""
    return exists().where(
        TrainingMemberRow.sha256 == sha256, ModelAliasRow.model_version_id == TrainingMemberRow.model_version_id
    )


_undelivered = exists().where(
    OutboxRow.verdict_id == VerdictRow.id,
    VerdictRow.upload_id == UploadRow.id,
    OutboxRow.delivered_at.is_(None),
    OutboxRow.abandoned_at.is_(None),
)

_FAMILIES: dict[Family, tuple[Any, InstrumentedAttribute[Any], tuple[ColumnElement[bool], ...]]] = {
    Family.UPLOADS: (
        UploadRow,
        UploadRow.received_at,
        (
            UploadRow.state.in_([UploadState.DONE, UploadState.DEAD]),
            ~exists().where(ReviewItemRow.upload_id == UploadRow.id, ReviewItemRow.state.in_(["open", "disputed"])),
            ~exists().where(DeadLetterRow.upload_id == UploadRow.id, DeadLetterRow.resolved_at.is_(None)),
            ~_undelivered,
            ~_in_training(UploadRow.sha256),
        ),
    ),
    Family.EMBEDDINGS: (EmbeddingRow, EmbeddingRow.created_at, (~_in_training(EmbeddingRow.sha256),)),
    Family.EXIF: (ExifRow, MediaRow.created_at, ()),
    Family.WEBHOOKS: (
        OutboxRow,
        OutboxRow.created_at,
        (or_(OutboxRow.delivered_at.is_not(None), OutboxRow.abandoned_at.is_not(None)),),
    ),
    Family.DELETIONS: (DeletionRow, DeletionRow.received_at, ()),
    Family.DEAD_LETTERS: (DeadLetterRow, DeadLetterRow.resolved_at, ()),
    Family.DRIFT_SNAPSHOTS: (DriftSnapshotRow, DriftSnapshotRow.created_at, ()),
    Family.AUDIT_LOG: (AuditRow, AuditRow.created_at, ()),
}
"""Table, its rows' age, and what must hold besides: nothing goes that is unfinished, open, undelivered or in use."""
