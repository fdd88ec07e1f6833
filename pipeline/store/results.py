"""What was found out about the bytes, and the verdict on the upload."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from pipeline.errors import Overtaken, RejectReason
from pipeline.records import (
    Examination,
    ExifFacts,
    ExifPrediction,
    Interval,
    ModelVersion,
    NotApplicableReason,
    ProvenanceClaim,
    Score,
    Upload,
    UploadState,
    Verdict,
)
from pipeline.store.announcements import answer
from pipeline.store.models import (
    DeadLetterRow,
    EmbeddingRow,
    ExifRow,
    MediaRow,
    ScoreRow,
    UploadRow,
    VerdictRow,
)
from pipeline.store.models_review import ReviewItemRow
from pipeline.store.queue import withdraw

Vector = NDArray[np.float32]


class Results:
    """Implements `ports.ResultStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find_examination(self, sha256: str, model: ModelVersion) -> Examination | None:
        media = self._session.get(MediaRow, sha256)
        if media is None:
            return None
        score = self._session.get(ScoreRow, (sha256, model.id))
        if score is None and media.rejected is None and media.not_applicable is None:
            return None  # other versions scored it, this one did not
        exif = self._session.get(ExifRow, sha256)
        return Examination(
            sha256=sha256,
            byte_size=media.byte_size,
            format=media.format,
            width=media.width,
            height=media.height,
            exif=to_exif(exif) if exif else None,
            provenance=tuple(ProvenanceClaim(**claim) for claim in media.provenance),
            score=to_score(score) if score else None,
            rejected=RejectReason(media.rejected) if media.rejected else None,
            not_applicable=NotApplicableReason(media.not_applicable) if media.not_applicable else None,
            detail=media.detail,
        )

    def save_examination(self, examination: Examination, model: ModelVersion) -> None:
        if not examination.sha256:  # the bytes never arrived
            return
        self._insert(
            MediaRow,
            sha256=examination.sha256,
            format=examination.format,
            width=examination.width,
            height=examination.height,
            byte_size=examination.byte_size,
            provenance=[asdict(claim) for claim in examination.provenance],
            rejected=examination.rejected,
            not_applicable=examination.not_applicable,
            detail=examination.detail,
        )
        if examination.exif is not None:
            self._insert(ExifRow, sha256=examination.sha256, **_exif_columns(examination.exif))
        if examination.score is not None:
            columns = _score_columns(examination.score)
            timings = examination.timings_ms
            self._insert(ScoreRow, sha256=examination.sha256, model_version_id=model.id, timings=timings, **columns)
        if examination.embedding is not None and examination.self_description is not None:
            self._insert_traces(
                sha256=examination.sha256,
                encoder_version=model.encoder_version,
                embedding=examination.embedding.tolist(),
                self_description=examination.self_description.tolist(),
                patch_count=examination.patch_count,
            )

    def save_verdict(self, upload: Upload, examination: Examination, verdict: Verdict, model: ModelVersion) -> int:
        # Two workers may hold a repeated message, and the consumer may write down another announcement or a deletion:
        # the row's lock puts one after the other.
        held = select(UploadRow.deleted_at).where(UploadRow.id == upload.id).with_for_update()
        deleted_at = self._session.scalars(held).one()
        if upload.deleted_at is not None and deleted_at is None:
            raise Overtaken(f"the object of upload {upload.id} is back")
        self._supersede(upload.id, model)
        values = {
            "sha256": examination.sha256 or None,
            "kind": verdict.kind.value,
            "reason": verdict.reason,
            "policy": verdict.policy.thresholds(),
            "timings": examination.timings_ms,
            "superseded_at": None,
        }
        verdict_id = self._session.execute(
            insert(VerdictRow)
            .values(upload_id=upload.id, model_version_id=model.id, **values)
            .on_conflict_do_update(index_elements=["upload_id", "model_version_id"], set_=values)
            .returning(VerdictRow.id)
        ).scalar_one()
        if verdict.review is not None and deleted_at is None:
            self._open_review(verdict_id, upload, examination, verdict, model)
        answer(self._session, upload.id)
        return verdict_id

    def bury(self, upload_id: int, *, stage: str, reason: str, detail: str) -> None:
        row = self._session.get_one(UploadRow, upload_id, with_for_update=True)
        row.state, row.not_before, row.last_error, row.updated_at = UploadState.DEAD, None, detail[:2000], func.now()
        self._insert(
            DeadLetterRow, upload_id=upload_id, stage=stage, reason=reason, detail=detail[:2000], attempts=row.attempts
        )

    def _supersede(self, upload_id: int, model: ModelVersion) -> None:
        """End other versions' verdicts on this upload, and the reviews that waited on them."""
        ended = self._session.scalars(
            update(VerdictRow)
            .where(
                VerdictRow.upload_id == upload_id,
                VerdictRow.superseded_at.is_(None),
                VerdictRow.model_version_id != model.id,
            )
            .values(superseded_at=func.now())
            .returning(VerdictRow.id)
        ).all()
        if ended:
            withdraw(self._session, ReviewItemRow.verdict_id.in_(ended))

    def _open_review(
        self, verdict_id: int, upload: Upload, examination: Examination, verdict: Verdict, model: ModelVersion
    ) -> None:
        """Open the verdict's item, again if it was withdrawn: an older model or the object is back, maybe with other
        bytes or thresholds. What is decided stays so."""
        key = {"verdict_id": verdict_id, "purpose": verdict.review}
        copied = {
            "upload_id": upload.id,
            "sha256": examination.sha256,
            "surface": upload.event.surface,
            "lane": upload.event.lane,
            "kind": verdict.kind,
            "format": examination.format,
            "camera_make": examination.exif.make if examination.exif else None,
            "model_version_id": model.id,
            "p_value": examination.score.p_value if examination.score else None,
            "decisions_needed": verdict.policy.decisions_needed,
        }
        self._session.execute(
            insert(ReviewItemRow)
            .values(**key, **copied)
            .on_conflict_do_update(
                index_elements=list(key),
                set_={**copied, "state": "open", "closed_at": None},
                where=ReviewItemRow.state == "withdrawn",
            )
        )

    def _insert_traces(self, **values: Any) -> None:
        """Traces that are there stay, but for those of releases that looked at all patches at once (ADR 16)."""
        row = insert(EmbeddingRow).values(values)
        self._session.execute(
            row.on_conflict_do_update(
                index_elements=(EmbeddingRow.sha256, EmbeddingRow.encoder_version),
                set_={name: row.excluded[name] for name in ("embedding", "self_description", "patch_count")},
                where=EmbeddingRow.patch_count.is_(None),
            )
        )

    def _insert(self, table: type[Any], **values: Any) -> None:
        """Insert a row; one that is there already stays as it is."""
        self._session.execute(insert(table).values(**values).on_conflict_do_nothing())


def _exif_columns(exif: ExifFacts) -> dict[str, Any]:
    return {
        "make": exif.make,
        "model": exif.model,
        "tags": dict(exif.tags),
        "reader": exif.reader,
        "warnings": list(exif.warnings),
    }


def to_exif(row: ExifRow) -> ExifFacts:
    reader: Any = row.reader
    return ExifFacts(tags=row.tags, reader=reader, warnings=tuple(row.warnings))


def _score_columns(score: Score) -> dict[str, Any]:
    columns = {name: getattr(score, name) for name in Score.__dataclass_fields__ if name != "percentile_interval"}
    return columns | {
        "percentile_low": score.percentile_interval.low,
        "percentile_high": score.percentile_interval.high,
        "patch_log_likelihoods": list(score.patch_log_likelihoods),
        "patch_corners": [list(corner) for corner in score.patch_corners],
        "exif_predictions": [asdict(prediction) for prediction in score.exif_predictions],
    }


def to_score(row: ScoreRow) -> Score:
    return Score(
        log_likelihood=row.log_likelihood,
        percentile=row.percentile,
        percentile_interval=Interval(row.percentile_low, row.percentile_high),
        ai_probability=row.ai_probability,
        fused=row.fused,
        p_value=row.p_value,
        full_size_p_value=row.first_look,
        half_size_p_value=row.half_size_p_value,
        patch_log_likelihoods=tuple(row.patch_log_likelihoods),
        patch_corners=tuple((y, x) for y, x in row.patch_corners),
        exif_predictions=tuple(ExifPrediction(**prediction) for prediction in row.exif_predictions),
    )
