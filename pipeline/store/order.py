"""What happened to one key, in order: S3's, not that of arrival.

Every change of a key's rows begins with its lock, so that what is decided here is decided by one transaction at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import BigInteger, ColumnElement, ScalarSelect, cast, false, func, literal, or_, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased

from pipeline.records import Moment, UploadEvent
from pipeline.store.models import DeletionRow, UploadRow


def lock_keys(session: Session, keys: Iterable[tuple[str, str]]) -> None:
    """Hold these keys (bucket, key) until the transaction ends; in one order, so that nobody waits in a circle."""
    numbers = sorted({_lock_number(bucket, key) for bucket, key in keys})
    session.execute(select(func.pg_advisory_xact_lock(func.unnest(cast(numbers, ARRAY(BigInteger))))))


def matching(session: Session, event: UploadEvent) -> UploadRow | None:
    """The row of the object that the event announces, locked.

    An object is known by its version, else by its ETag, else by the event alone. An event that knows the version and
    one that knows the ETag only are of one object where the ETags agree; which comes first does not matter.
    """
    newest = (UploadRow.sequencer_order.desc().nulls_last(), UploadRow.id.desc())
    version = UploadRow.version_id
    if event.version_id is not None:
        same_bytes = version.is_(None) & (UploadRow.etag == event.etag) if event.etag else false()
        same, first = or_(version == event.version_id, same_bytes), version.is_(None)
    elif event.etag is not None:
        same, first = UploadRow.etag == event.etag, version.is_not(None)
    else:
        same, first = UploadRow.identity == event.identity, version.is_(None)
    of_key = select(UploadRow).where(UploadRow.bucket == event.bucket, UploadRow.object_key == event.key, same)
    return session.scalars(of_key.order_by(first, *newest).limit(1).with_for_update()).one_or_none()


def newest_live(session: Session, bucket: str, key: str) -> UploadRow | None:
    """The upload that the object is now; None where there is none, or all are deleted."""
    newest = select(UploadRow).where(UploadRow.id == newest_live_id(bucket, literal(key)))
    return session.scalars(newest).one_or_none()


def newest_live_id(bucket: str, key: ColumnElement[str]) -> ScalarSelect[int]:
    """Id of the newest upload of `key` that is not deleted, by S3's sequencer.

    Where some uploads came without a sequencer, the newest of both kinds is told by its time.
    """
    row = aliased(UploadRow)
    order = row.sequencer_order
    of_key = (
        select(row.id, row.uploaded_at, order.is_(None).label("is_plain"))
        .where(row.bucket == bucket, row.object_key == key, row.deleted_at.is_(None))
        .limit(1)
        .correlate_except(row)
    )
    sequenced = of_key.where(order.is_not(None)).order_by(order.desc(), row.id.desc()).subquery()
    plain = of_key.where(order.is_(None)).order_by(row.uploaded_at.desc(), row.id.desc()).subquery()
    both = union_all(select(sequenced), select(plain)).subquery()
    return select(both.c.id).order_by(both.c.uploaded_at.desc(), both.c.is_plain).limit(1).scalar_subquery()


def deletion_of(session: Session, upload: UploadRow) -> datetime | None:
    """When the upload's object was deleted, as far as is known now."""
    known = select(DeletionRow).where(DeletionRow.bucket == upload.bucket, DeletionRow.object_key == upload.object_key)
    return min((one.deleted_at for one in session.scalars(known) if ends(one, upload)), default=None)


def ends(deletion: DeletionRow, upload: UploadRow) -> bool:
    """Whether the deletion took this upload's object away: that very version, or whatever the key held by then."""
    if deletion.version_id is not None:
        return deletion.version_id == upload.version_id
    return not moment_of(upload).follows(Moment(deletion.sequencer, deletion.deleted_at))


def moment_of(upload: UploadRow) -> Moment:
    return Moment(upload.sequencer, upload.uploaded_at)


def _lock_number(bucket: str, key: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{bucket}/{key}".encode(), digest_size=8).digest(), signed=True)
