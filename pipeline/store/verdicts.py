"""Verdicts, to be read: by HTTP, by the command line, and as the body of a webhook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from pipeline.store.models import AnnouncementRow, ExifRow, MediaRow, ScoreRow, UploadRow, VerdictRow
from pipeline.store.models_ops import ModelVersionRow
from pipeline.store.order import newest_live

NOTICE = "A signal, never proof."


@dataclass(frozen=True, slots=True)
class VerdictView:
    """The current verdict on one upload, with the evidence a reader wants first; None where there is no score."""

    verdict_id: int
    upload_id: int
    event_id: str
    """Of the event that created the upload, or of the one that was asked for."""
    bucket: str
    key: str
    version_id: str | None
    surface: str
    uploader_id: str | None
    verdict: str
    reason: str
    policy: dict[str, Any]
    model_version: str
    log_likelihood: float | None
    percentile: float | None
    percentile_interval: tuple[float, float] | None
    p_value: float | None
    full_size_p_value: float | None
    half_size_p_value: float | None
    ai_probability: float | None
    camera_make: str | None
    camera_model: str | None
    provenance: list[dict[str, Any]]
    exif_predictions: list[dict[str, Any]]
    timings_ms: dict[str, float]
    decided_at: datetime
    deleted_at: datetime | None = None
    """When the object was deleted; None while it is there."""
    notice: str = NOTICE


class Verdicts:
    def __init__(self, session: Session) -> None:
        self._session = session

    def of_upload(self, upload_id: int) -> VerdictView | None:
        """The upload's current verdict."""
        row = self._session.execute(_current().where(UploadRow.id == upload_id)).one_or_none()
        return _to_view(row) if row else None

    def of_object(self, bucket: str, key: str) -> VerdictView | None:
        """The verdict on the object as it is now: None where it was deleted, or its newest version waits for one."""
        newest = newest_live(self._session, bucket, key)
        return self.of_upload(newest.id) if newest else None

    def of_events(self, event_ids: Sequence[str]) -> dict[str, VerdictView]:
        """Event id -> its newest upload's verdict; events without one are left out."""
        rows = self._session.execute(
            _current()
            .add_columns(AnnouncementRow.event_id)
            .join(AnnouncementRow, AnnouncementRow.upload_id == UploadRow.id)
            .where(AnnouncementRow.event_id.in_(event_ids))
            .order_by(UploadRow.id)
        )
        return {event_id: replace(_to_view(row), event_id=event_id) for *row, event_id in rows}

    def latest(self, limit: int = 20) -> list[VerdictView]:
        rows = self._session.execute(_current().order_by(VerdictRow.id.desc()).limit(limit))
        return [_to_view(row) for row in rows]


def payload(view: VerdictView, event_id: str) -> dict[str, Any]:
    """Body of the webhook that answers an event. Numbers and names; the bytes and the uploader stay here."""
    names = ("bucket", "key", "version_id", "surface", "verdict", "reason", "model_version", "log_likelihood")
    more = ("percentile", "p_value", "ai_probability", "policy", "provenance", "notice")
    return {"type": "verdict", "event_id": event_id, **{name: getattr(view, name) for name in names + more}}


def _current() -> Select[*tuple[Any, ...]]:
    return (
        select(VerdictRow, UploadRow, ModelVersionRow.name, MediaRow, ScoreRow, ExifRow)
        .join(UploadRow, UploadRow.id == VerdictRow.upload_id)
        .join(ModelVersionRow, ModelVersionRow.id == VerdictRow.model_version_id)
        .outerjoin(MediaRow, MediaRow.sha256 == VerdictRow.sha256)
        .outerjoin(
            ScoreRow,
            (ScoreRow.sha256 == VerdictRow.sha256) & (ScoreRow.model_version_id == VerdictRow.model_version_id),
        )
        .outerjoin(ExifRow, ExifRow.sha256 == VerdictRow.sha256)
        .where(VerdictRow.superseded_at.is_(None))
    )


def _to_view(row: Iterable[Any]) -> VerdictView:
    verdict, upload, model_name, media, score, exif = row
    return VerdictView(
        verdict_id=verdict.id,
        upload_id=upload.id,
        event_id=upload.event_id,
        bucket=upload.bucket,
        key=upload.object_key,
        version_id=upload.version_id,
        surface=upload.surface,
        uploader_id=upload.uploader_id,
        verdict=verdict.kind,
        reason=verdict.reason,
        policy=verdict.policy,
        model_version=model_name,
        log_likelihood=score and score.log_likelihood,
        percentile=score and score.percentile,
        percentile_interval=score and (score.percentile_low, score.percentile_high),
        p_value=score and score.p_value,
        full_size_p_value=score and score.first_look,
        half_size_p_value=score and score.half_size_p_value,
        ai_probability=score and score.ai_probability,
        camera_make=exif and exif.make,
        camera_model=exif and exif.model,
        provenance=media.provenance if media else [],
        exif_predictions=score.exif_predictions if score else [],
        timings_ms=verdict.timings,
        decided_at=verdict.created_at,
        deleted_at=upload.deleted_at,
    )
