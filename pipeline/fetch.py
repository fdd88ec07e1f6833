"""Event -> the object's bytes and their digest."""

from __future__ import annotations

import hashlib

from pipeline.errors import RejectedUpload, RejectReason
from pipeline.ports import ObjectStore
from pipeline.records import StoredObject, UploadEvent
from pipeline.settings import LimitSettings


def fetch(objects: ObjectStore, event: UploadEvent, limits: LimitSettings) -> StoredObject:
    """Read the object that the event names.

    A named version is read as such; if it is gone, the bytes that were announced cannot be judged any more:
    `object_changed`. An event with an ETag only cannot ask for old bytes. What the key holds *now* is judged, because
    that is what the platform serves; the overwrite has its own event, and equal bytes share one score.

    Raises:
        RejectedUpload: `object_missing`, `object_changed`, `too_large`.
        ObjectStoreUnavailable: worth another try.
    """
    try:
        content = objects.get(event.bucket, event.key, version_id=event.version_id, max_bytes=limits.max_bytes)
    except RejectedUpload as error:
        if error.reason is RejectReason.OBJECT_MISSING and event.version_id:
            raise RejectedUpload(RejectReason.OBJECT_CHANGED, "the version is gone") from error
        raise
    return StoredObject(content=content, sha256=hashlib.sha256(content).hexdigest())
