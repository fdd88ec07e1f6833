"""Records for tests: complete, plausible, and different at every call. A test names only what it is about."""

from __future__ import annotations

import hashlib
import itertools
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.records import (
    FEATURE_DIM,
    SELF_DESCRIPTION_DIM,
    Examination,
    ExifFacts,
    ExifPrediction,
    Interval,
    ModelVersion,
    ProvenanceClaim,
    Score,
    SurfacePolicy,
    Upload,
    UploadEvent,
    UploadState,
    Verdict,
    VerdictKind,
)
from pipeline.store import Transaction

_numbers = itertools.count(1)


def make_sha256() -> str:
    return hashlib.sha256(str(next(_numbers)).encode()).hexdigest()


def make_event(**changes: Any) -> UploadEvent:
    number = next(_numbers)
    values = {
        "event_id": f"event-{number}",
        "bucket": "uploads",
        "key": f"photos/{number}.jpg",
        "etag": f"{number:032x}",
        "uploaded_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
        "uploader_id": "uploader-1",
    }
    return UploadEvent(**(values | changes))


def make_score(**changes: Any) -> Score:
    values = {
        "log_likelihood": -812.25,
        "percentile": 31.5,
        "percentile_interval": Interval(28.0, 35.25),
        "ai_probability": 0.125,
        "fused": -1.5,
        "p_value": 0.315,
        "full_size_p_value": changes.get("p_value", 0.315),
        "half_size_p_value": changes.get("p_value", 0.75),
        "patch_log_likelihoods": (-800.5, -824.0),
        "patch_corners": ((0, 64), (128, 0)),
        "exif_predictions": (
            ExifPrediction("Make", "Canon", 0.75, "NIKON", 0.0625),
            ExifPrediction("Flash", "on", 0.5, None, None),
        ),
    }
    return Score(**(values | changes))


def make_examination(**changes: Any) -> Examination:
    """Of a scored photograph."""
    number = next(_numbers)
    values = {
        "sha256": make_sha256(),
        "byte_size": 1_234_567,
        "format": "JPEG",
        "width": 4032,
        "height": 3024,
        "exif": ExifFacts({"Make": "NIKON", "Model": "D90", "ISO": 200, "FNumber": 2.8}, "exiftool", ("odd offset",)),
        "provenance": (ProvenanceClaim("generator", "GIMP 2.10", "EXIF:Software"),),
        "embedding": np.random.default_rng(number).normal(size=FEATURE_DIM).astype(np.float32),
        "self_description": np.random.default_rng(number).normal(size=SELF_DESCRIPTION_DIM).astype(np.float32),
        "patch_count": 40,
        "score": make_score(),
        "timings_ms": {"fetch": 3.5, "decode": 12.0},
    }
    return Examination(**(values | changes))


def make_verdict(
    kind: VerdictKind = VerdictKind.CAMERA, reason: str = "p_value", *, decisions_needed: int = 1, sampled: bool = False
) -> Verdict:
    return Verdict(kind, reason, SurfacePolicy(decisions_needed=decisions_needed), is_sampled=sampled)


def add_model(transaction: Transaction, **changes: Any) -> ModelVersion:
    number = next(_numbers)
    values = {
        "name": f"model-{number}",
        "encoder_version": 1,
        "binary_version": 1,
        "artifact_prefix": f"models/model-{number}/",
        "card": {},
        "created_by": "tests",
    }
    return transaction.versions.add(**(values | changes))


def add_upload(transaction: Transaction, **event: Any) -> Upload:
    """A ledger row that waits for its first attempt."""
    upload, is_new = transaction.uploads.record(make_event(**event))
    assert is_new
    return upload


def add_verdict(
    transaction: Transaction,
    model: ModelVersion,
    kind: VerdictKind = VerdictKind.CAMERA,
    *,
    upload: Upload | None = None,
    examination: Examination | None = None,
    decisions_needed: int = 1,
    sampled: bool = False,
    **event: Any,
) -> int:
    """Take an upload all the way, as `moderate` would; returns the verdict's id."""
    upload = upload or add_upload(transaction, **event)
    examination = examination or make_examination()
    transaction.results.save_examination(examination, model)
    verdict = make_verdict(kind, decisions_needed=decisions_needed, sampled=sampled)
    verdict_id = transaction.results.save_verdict(upload, examination, verdict, model)
    transaction.uploads.finish(upload.id, UploadState.DONE, sha256=examination.sha256)
    return verdict_id
