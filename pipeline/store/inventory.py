"""The ledger as a listing: what each key of a bucket holds now."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline.reconcile import LedgerEntry
from pipeline.store.models import UploadRow
from pipeline.store.order import newest_live_id


class Inventory:
    def __init__(self, session: Session) -> None:
        self._session = session

    def page(self, bucket: str, *, after: str, limit: int) -> list[LedgerEntry]:
        """The next keys that hold an object, in the order of their bytes; `after` is the last one that was read."""
        keys = (
            select(UploadRow.object_key)
            .distinct()
            .where(UploadRow.bucket == bucket, UploadRow.object_key > after, UploadRow.deleted_at.is_(None))
            .order_by(UploadRow.object_key)
            .limit(limit)
            .subquery()
        )
        newest = select(UploadRow.object_key, UploadRow.etag, UploadRow.received_at).join(
            keys, UploadRow.id == newest_live_id(bucket, keys.c.object_key)
        )
        return [LedgerEntry(*row) for row in self._session.execute(newest.order_by(UploadRow.object_key))]
