"""What the drift statistics read and write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.ports import ScoredSample
from pipeline.store.models import ExifRow, MediaRow, ScoreRow, UploadRow, VerdictRow
from pipeline.store.models_ops import DriftSnapshotRow


class Drift:
    """Implements `ports.DriftStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def samples(self, model_id: int, start: datetime, end: datetime) -> Iterable[ScoredSample]:
        """Uploads that this version scored from `start` up to, not including, `end`."""
        rows = self._session.execute(
            select(
                UploadRow.surface,
                ScoreRow.log_likelihood,
                ScoreRow.ai_probability,
                VerdictRow.kind,
                func.coalesce(MediaRow.format, "").label("format"),
                ExifRow.make,
            )
            .join(UploadRow, UploadRow.id == VerdictRow.upload_id)
            .join(MediaRow, MediaRow.sha256 == VerdictRow.sha256)
            .join(
                ScoreRow,
                (ScoreRow.sha256 == VerdictRow.sha256) & (ScoreRow.model_version_id == VerdictRow.model_version_id),
            )
            .outerjoin(ExifRow, ExifRow.sha256 == VerdictRow.sha256)
            .where(
                VerdictRow.model_version_id == model_id,
                VerdictRow.created_at >= start,
                VerdictRow.created_at < end,
            )
        )
        return [ScoredSample(**row._mapping) for row in rows]

    def save_snapshot(
        self,
        *,
        model_id: int,
        surface: str,
        start: datetime,
        end: datetime,
        count: int,
        statistics: Mapping[str, Any],
        alerts: Sequence[str],
    ) -> None:
        """Write a window's row; a repeated run replaces it."""
        values = {"count": count, "statistics": dict(statistics), "alerts": list(alerts)}
        self._session.execute(
            insert(DriftSnapshotRow)
            .values(model_version_id=model_id, surface=surface, period_start=start, period_end=end, **values)
            .on_conflict_do_update(
                index_elements=["model_version_id", "surface", "period_start", "period_end"], set_=values
            )
        )
