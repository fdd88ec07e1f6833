"""What the nightly job reads: photographs that people, or a trusted source, have verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import ColumnElement, Subquery, func, insert, select, true
from sqlalchemy.orm import Session

from pipeline.ports import VerifiedPhoto
from pipeline.read_out import handling_told
from pipeline.records import ExifPrediction, Label
from pipeline.store.effective import agreed, said
from pipeline.store.models import EmbeddingRow, ExifRow, MediaRow, ScoreRow, UploadRow
from pipeline.store.models_ops import ModelVersionRow, TrainingMemberRow


class Training:
    """Implements `ports.TrainingStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def verified_photos(
        self, encoder_version: int, *, reviewers_needed: int, trusted_surfaces: Sequence[str], limit: int
    ) -> list[VerifiedPhoto]:
        """Newest first. A photograph that any reviewer called `not_camera` is not verified, wherever it came from."""
        reviewed = UploadRow.sha256.in_(agreed(Label.CAMERA, reviewers_needed))
        doubted = UploadRow.sha256.in_(said(Label.NOT_CAMERA))
        trusted = UploadRow.surface.in_(trusted_surfaces)
        return self._photos(encoder_version, (reviewed | trusted) & ~doubted, limit)

    def confirmed_ai(self, encoder_version: int, *, reviewers_needed: int, limit: int) -> list[VerifiedPhoto]:
        confirmed = UploadRow.sha256.in_(agreed(Label.NOT_CAMERA, reviewers_needed))
        doubted = UploadRow.sha256.in_(said(Label.CAMERA))
        return self._photos(encoder_version, confirmed & ~doubted, limit)

    def record_members(self, model_version_id: int, sides: Mapping[str, str]) -> int:
        there = select(MediaRow.sha256).where(MediaRow.sha256.in_(sides)).with_for_update(key_share=True, read=True)
        rows = [
            {"sha256": sha256, "model_version_id": model_version_id, "side": sides[sha256]}
            for sha256 in self._session.scalars(there)
        ]
        if rows:
            self._session.execute(insert(TrainingMemberRow), rows)
        return len(rows)

    def _photos(self, encoder_version: int, chosen: ColumnElement[bool], limit: int) -> list[VerifiedPhoto]:
        first = _first_uploads(chosen)
        newest = (
            select(ScoreRow.ai_probability, ScoreRow.exif_predictions)
            .join(ModelVersionRow, ModelVersionRow.id == ScoreRow.model_version_id)
            .where(ScoreRow.sha256 == first.c.sha256, ModelVersionRow.encoder_version == encoder_version)
            .order_by(ScoreRow.model_version_id.desc())
            .limit(1)
            .lateral()
        )
        traces = (EmbeddingRow.embedding, EmbeddingRow.self_description, EmbeddingRow.patch_count)
        rows = self._session.execute(
            select(first, ExifRow.make, ExifRow.model, *traces, newest)
            .select_from(first)
            .join(newest, true())
            .join(EmbeddingRow, EmbeddingRow.sha256 == first.c.sha256)
            .outerjoin(ExifRow, ExifRow.sha256 == first.c.sha256)
            .where(EmbeddingRow.encoder_version == encoder_version, EmbeddingRow.patch_count.is_not(None))
            .order_by(first.c.id.desc())
            .limit(limit)
        )
        return [
            VerifiedPhoto(
                sha256=row.sha256,
                uploader_id=row.uploader_id,
                make=row.make,
                model=row.model,
                surface=row.surface,
                embedding=np.asarray(row.embedding, dtype=np.float32),
                self_description=np.asarray(row.self_description, dtype=np.float32),
                patch_count=row.patch_count,
                ai_probability=row.ai_probability,
                handling=handling_told(ExifPrediction(**said) for said in row.exif_predictions),
            )
            for row in rows
        ]


def _first_uploads(chosen: ColumnElement[bool]) -> Subquery:
    """One row per distinct bytes: whoever uploaded them first."""
    first = select(func.min(UploadRow.id)).where(UploadRow.sha256.is_not(None), chosen).group_by(UploadRow.sha256)
    return (
        select(UploadRow.sha256, UploadRow.uploader_id, UploadRow.surface, UploadRow.id)
        .where(UploadRow.id.in_(first))
        .subquery()
    )
