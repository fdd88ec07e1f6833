"""In-memory implementations of the ports. `tests/contract/` runs the same tests against them and the real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DetectorUnavailable, NotFound, ObjectStoreUnavailable, RejectedUpload, RejectReason
from pipeline.ports import ObjectInfo, OneClassScorer
from pipeline.records import (
    FEATURE_DIM,
    DetectorOutput,
    EncoderOutput,
    Examination,
    ExifFacts,
    Interval,
    ModelVersion,
    Patches,
    Score,
    SurfacePolicy,
    Upload,
    UploadEvent,
    UploadState,
    Verdict,
)

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@dataclass
class FakeClock:
    """Stands still until it is told to move."""

    time: datetime = NOON

    def now(self) -> datetime:
        return self.time

    def advance(self, **duration: float) -> None:
        """`advance(minutes=5)`."""
        self.time += timedelta(**duration)


@dataclass
class FakeObjectStore:
    """Buckets as dictionaries. Without versions, like a bucket that never had them switched on."""

    buckets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    down: bool = False
    """True: every call raises ObjectStoreUnavailable."""

    def get(self, bucket: str, key: str, *, version_id: str | None = None, max_bytes: int) -> bytes:
        objects = self._bucket(bucket)
        if key not in objects or version_id is not None:
            raise RejectedUpload(RejectReason.OBJECT_MISSING)
        if len(objects[key]) > max_bytes:
            raise RejectedUpload(RejectReason.TOO_LARGE)
        return objects[key]

    def put(self, bucket: str, key: str, content: bytes, *, content_type: str = "application/octet-stream") -> str:
        self._bucket(bucket)[key] = content
        return _etag(content)

    def list_objects(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        for key, content in sorted(self._bucket(bucket).items()):
            if key.startswith(prefix):
                yield ObjectInfo(bucket, key, len(content), _etag(content), NOON)

    def delete(self, bucket: str, key: str) -> None:
        self._bucket(bucket).pop(key, None)

    def ensure_bucket(self, bucket: str) -> None:
        self.buckets.setdefault(bucket, {})

    def _bucket(self, bucket: str) -> dict[str, bytes]:
        if self.down or bucket not in self.buckets:
            raise ObjectStoreUnavailable("down" if self.down else "NoSuchBucket")
        return self.buckets[bucket]


def _etag(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()  # what S3 does for a single-part upload


@dataclass
class FakeExifReader:
    """Says the same of every file."""

    tags: Mapping[str, str | float | int] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)

    def read(self, content: bytes, format: str) -> tuple[ExifFacts, Mapping[str, Any]]:
        return ExifFacts(tags=self.tags, reader="exiftool"), self.raw


@dataclass
class FakeDetector:
    """Features drawn from a generator that the patches seed: same pixels, same answer."""

    ai_probability: float = 0.1
    exif_outputs: int = 40
    fails: bool = False
    """True: every call raises DetectorUnavailable."""
    calls: int = 0

    def detect(self, patches: Patches, model: ModelVersion) -> DetectorOutput:
        self.calls += 1
        if self.fails:
            raise DetectorUnavailable("told to fail")
        random = np.random.default_rng(
            np.frombuffer(hashlib.sha256(patches.pixels.tobytes()).digest(), dtype=np.uint32)
        )
        encoder = EncoderOutput(
            embedding=random.normal(size=FEATURE_DIM).astype(np.float32),
            patch_features=random.normal(size=(len(patches.pixels), FEATURE_DIM)).astype(np.float32),
            exif=random.normal(size=self.exif_outputs).astype(np.float32),
        )
        return DetectorOutput(encoder=encoder, ai_probability=self.ai_probability)


@dataclass
class FakeScorer:
    """Gives every image the same p-value."""

    p_value: float = 0.5

    def score(
        self, output: DetectorOutput, patches: Patches, statistics: NDArray[np.float32], exif: ExifFacts
    ) -> Score:
        return Score(
            log_likelihood=float(output.encoder.embedding.sum()),
            percentile=50.0,
            percentile_interval=Interval(40.0, 60.0),
            ai_probability=output.ai_probability,
            fused=0.0,
            p_value=self.p_value,
            full_size_p_value=self.p_value,
            half_size_p_value=None,
            patch_log_likelihoods=tuple(float(row.sum()) for row in output.encoder.patch_features),
            patch_corners=tuple((int(y), int(x)) for y, x in patches.corners),
            exif_predictions=(),
        )


MODEL = ModelVersion(id=1, name="fake-1", encoder_version=1, binary_version=1, artifact_prefix="fake-1/")


@dataclass
class FakeRegistry:
    aliases: dict[str, ModelVersion] = field(default_factory=lambda: {"champion": MODEL})
    one_scorer: OneClassScorer = field(default_factory=FakeScorer)

    def resolve(self, alias: str) -> ModelVersion:
        if alias not in self.aliases:
            raise NotFound(alias)
        return self.aliases[alias]

    def scorer(self, model: ModelVersion) -> OneClassScorer:
        return self.one_scorer


@dataclass
class FakePolicyStore:
    policies: dict[str, SurfacePolicy] = field(default_factory=dict)

    def saved(self, surface: str) -> SurfacePolicy | None:
        return self.policies.get(surface)

    def all_saved(self) -> dict[str, SurfacePolicy]:
        return self.policies


@dataclass
class FakeUploadStore:
    """The ledger as a list; ids count from 1."""

    rows: dict[int, Upload] = field(default_factory=dict)
    not_before: dict[int, datetime] = field(default_factory=dict)

    def record(self, event: UploadEvent) -> tuple[Upload, bool]:
        for row in self.rows.values():
            if (row.event.bucket, row.event.key, row.event.identity) == (event.bucket, event.key, event.identity):
                return row, False
        row = Upload(len(self.rows) + 1, event, UploadState.QUEUED, attempts=0, received_at=NOON, queued_at=NOON)
        self.rows[row.id] = row
        return row, True

    def begin_attempt(self, upload_id: int) -> Upload:
        if upload_id not in self.rows:
            raise NotFound(str(upload_id))
        row = self.rows[upload_id]
        if row.state in (UploadState.QUEUED, UploadState.SCORING):
            self.rows[upload_id] = replace(row, state=UploadState.SCORING, attempts=row.attempts + 1)
        return self.rows[upload_id]

    def finish(self, upload_id: int, state: UploadState, *, sha256: str | None = None) -> None:
        self.rows[upload_id] = replace(self.rows[upload_id], state=state)

    def retry(self, upload_id: int, *, not_before: datetime, error: str) -> None:
        self.rows[upload_id] = replace(self.rows[upload_id], state=UploadState.QUEUED)
        self.not_before[upload_id] = not_before

    def postpone(self, upload_id: int, *, not_before: datetime, error: str) -> None:
        row = self.rows[upload_id]
        self.rows[upload_id] = replace(row, attempts=max(0, row.attempts - 1), postponements=row.postponements + 1)
        self.retry(upload_id, not_before=not_before, error=error)


@dataclass
class FakeResultStore:
    uploads: FakeUploadStore = field(default_factory=FakeUploadStore)
    examinations: dict[tuple[str, int], Examination] = field(default_factory=dict)
    verdicts: dict[tuple[int, int], Verdict] = field(default_factory=dict)
    """(upload id, model id) -> verdict."""
    dead_letters: list[tuple[int, str, str, str]] = field(default_factory=list)
    """Upload id, stage, reason, detail."""

    def find_examination(self, sha256: str, model: ModelVersion) -> Examination | None:
        known = self.examinations.get((sha256, model.id))
        return known and replace(known, embedding=None, self_description=None, patch_count=None, timings_ms={})

    def save_examination(self, examination: Examination, model: ModelVersion) -> None:
        self.examinations.setdefault((examination.sha256, model.id), examination)

    def save_verdict(self, upload: Upload, examination: Examination, verdict: Verdict, model: ModelVersion) -> int:
        self.verdicts[upload.id, model.id] = verdict
        return list(self.verdicts).index((upload.id, model.id)) + 1

    def bury(self, upload_id: int, *, stage: str, reason: str, detail: str) -> None:
        self.dead_letters.append((upload_id, stage, reason, detail))
        self.uploads.finish(upload_id, UploadState.DEAD)
