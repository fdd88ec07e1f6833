"""What arrives at a door -> `UploadEvent`. Whatever cannot be understood is an `InvalidEvent`, never another error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any
from urllib.parse import unquote_plus

from pydantic import ValidationError

from pipeline.errors import InvalidEvent
from pipeline.records import EventKind, UploadEvent

_HAPPENINGS = {
    "ObjectCreated": EventKind.CREATED,
    "ObjectRemoved": EventKind.DELETED,
    "LifecycleExpiration": EventKind.DELETED,
}
"""First part of a record's `eventName`."""

_DETAIL_TYPES = {"Object Created": EventKind.CREATED, "Object Deleted": EventKind.DELETED}
"""Of EventBridge."""

MAX_EVENT_BYTES = 64 * 1024
"""An event is a few hundred bytes; a notification of S3 holds up to a thousand."""

_MAX_BYTES = {"bucket": 255, "key": 1024, "version_id": 1024}
"""S3's limits, in UTF-8; the schema's count characters. Postgres indexes the three together, up to 2,704 bytes."""


def parse_event(raw: bytes | str) -> UploadEvent:
    """Read one event in its published JSON form.

    Raises:
        InvalidEvent: not JSON, or not the schema; the message names the first field that is wrong, never its value.
    """
    if len(raw) > MAX_EVENT_BYTES:
        raise InvalidEvent(f"over {MAX_EVENT_BYTES} bytes")
    try:
        event = UploadEvent.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "event"
        raise InvalidEvent(f"{where}: {first['msg']}"[:300]) from error
    return _storable(event)


def dump_event(event: UploadEvent) -> str:
    """The event in its published JSON form, without the fields that have their defaults."""
    return event.model_dump_json(exclude_defaults=True)


def events_from_s3(payload: Mapping[str, Any]) -> list[UploadEvent]:
    """Uploads and deletions in an S3 notification: `Records` (AWS, MinIO) or one EventBridge event; nothing else.

    The event id is derived from what happened, so a notification that is delivered again is the same event.
    Notifications know no surface: they are for the surface `default`.

    Raises:
        InvalidEvent: neither form, or a record without the fields that name an object.
    """
    try:
        if "Records" in payload:
            return [event for record in payload["Records"] if (event := _from_record(record))]
        if payload.get("detail-type") in _DETAIL_TYPES:
            return [_from_event_bridge(payload)]
        if payload.get("source") == "aws.s3" or payload.get("Event") == "s3:TestEvent":
            return []
    except ValidationError as error:
        raise InvalidEvent(f"S3 notification: {error.errors(include_input=False)[0]['msg']}"[:300]) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InvalidEvent(f"S3 notification: {type(error).__name__}") from error
    raise InvalidEvent("neither an S3 notification nor an EventBridge event of S3")


def _from_record(record: Mapping[str, Any]) -> UploadEvent | None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html"""
    happening, _, detail = record["eventName"].removeprefix("s3:").partition(":")
    kind = _HAPPENINGS.get(happening)
    if kind is None:
        return None
    s3 = record["s3"]
    stored = dict(s3["object"])
    stored["version-id"] = None if detail == "DeleteMarkerCreated" else stored.get("versionId")
    key = unquote_plus(stored["key"], errors="strict")  # keys come URL-encoded here, and only here
    return _notified(kind, s3["bucket"]["name"], key, stored, happened_at=record["eventTime"])


def _from_event_bridge(event: Mapping[str, Any]) -> UploadEvent:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html"""
    detail = event["detail"]
    stored = dict(detail["object"])
    if detail.get("deletion-type") == "Delete Marker Created":
        stored["version-id"] = None
    kind = _DETAIL_TYPES[event["detail-type"]]
    return _notified(kind, detail["bucket"]["name"], stored["key"], stored, happened_at=event["time"])


def _notified(kind: EventKind, bucket: str, key: str, stored: Mapping[str, Any], happened_at: str) -> UploadEvent:
    """`stored["version-id"]` is absent where a delete marker hides the key: the marker's own version is nobody's."""
    etag = stored.get("eTag") or stored.get("etag")
    version = stored.get("version-id")
    fields = {
        "bucket": bucket,
        "key": key,
        "version_id": version if version not in (None, "", "null") else None,  # "null": the bucket has no versions
        "etag": etag.strip('"') if etag else None,
        "sequencer": stored.get("sequencer") or None,
    }
    # One object may be deleted twice, and without a sequencer only the time tells the two apart.
    happened = fields.values() if kind is EventKind.CREATED else [kind, happened_at, *fields.values()]
    event_id = "s3:" + _digest(happened)
    return _storable(
        UploadEvent.model_validate({"kind": kind, "event_id": event_id, "uploaded_at": happened_at, **fields})
    )


def _digest(values: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()[:32]


def _storable(event: UploadEvent) -> UploadEvent:
    """Refuse what Postgres cannot hold or give back; it would fail much later, for ever."""
    for name, value in event:
        if isinstance(value, str) and "\0" in value:
            raise InvalidEvent(f"{name}: a NUL character")
    for name, limit in _MAX_BYTES.items():
        if len((getattr(event, name) or "").encode()) > limit:
            raise InvalidEvent(f"{name}: over {limit} bytes")
    try:
        event.uploaded_at.astimezone(UTC)
    except OverflowError:
        raise InvalidEvent("uploaded_at: not a year from 1 to 9999 in UTC") from None
    return event
