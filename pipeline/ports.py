"""What the use cases need from the outside, as protocols.

Implemented in `adapters/` (S3, Triton, ExifTool, in-process detector) and `store/` (Postgres); `tests/fakes.py` holds
in-memory versions, and `tests/contract/` runs the same tests against both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.records import (
    DetectorOutput,
    Examination,
    ExifFacts,
    Handling,
    ModelVersion,
    Patches,
    Score,
    SurfacePolicy,
    Upload,
    UploadEvent,
    UploadState,
    Verdict,
)


class Clock(Protocol):
    def now(self) -> datetime:
        """The present moment, timezone-aware UTC."""
        ...


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One row of a bucket listing."""

    bucket: str
    key: str
    size: int
    etag: str
    last_modified: datetime


class ObjectStore(Protocol):
    """S3. Every method raises `ObjectStoreUnavailable` where a later try may succeed."""

    def get(self, bucket: str, key: str, *, version_id: str | None = None, max_bytes: int) -> bytes:
        """The object's bytes.

        Raises:
            RejectedUpload: `too_large` as soon as more than `max_bytes` arrived; `object_missing`.
        """
        ...

    def put(self, bucket: str, key: str, content: bytes, *, content_type: str = "application/octet-stream") -> str:
        """Store an object; returns its ETag without quotes."""
        ...

    def list_objects(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Everything under the prefix, in the order of the keys' UTF-8 bytes, page by page."""
        ...

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def ensure_bucket(self, bucket: str) -> None: ...


class ExifReader(Protocol):
    def read(self, content: bytes, format: str) -> tuple[ExifFacts, Mapping[str, Any]]:
        """The header's claims, and every tag as read (group-prefixed, `XMP:CreatorTool`) for the provenance stage.

        Never raises for broken metadata: what cannot be read is missing and named in `ExifFacts.warnings`.
        `format` is Pillow's name of the decoded format.
        """
        ...


class Detector(Protocol):
    """The two networks, served by Triton or run in this process."""

    def detect(self, patches: Patches, model: ModelVersion) -> DetectorOutput:
        """Run both networks, at the versions that `model` pins.

        Raises:
            DetectorUnavailable: not reachable, full, or too slow.
            DetectorConfused: the answer is not finite.
        """
        ...


class OneClassScorer(Protocol):
    """A loaded `one_class.npz`, ready to score."""

    def score(
        self, output: DetectorOutput, patches: Patches, statistics: NDArray[np.float32], exif: ExifFacts
    ) -> Score:
        """`statistics`: of the same patches, by `pipeline.statistics.describe`."""
        ...


class ModelRegistry(Protocol):
    """Published releases and the two aliases `champion` and `challenger`."""

    def resolve(self, alias: str) -> ModelVersion:
        """Raises `NotFound` where the alias points nowhere."""
        ...

    def scorer(self, model: ModelVersion) -> OneClassScorer:
        """The version's scorer; loaded once, then kept."""
        ...


class PolicyStore(Protocol):
    """Thresholds that leads saved for surfaces. Runs inside the caller's transaction."""

    def saved(self, surface: str) -> SurfacePolicy | None:
        """The newest one, or None: the settings hold."""
        ...

    def all_saved(self) -> Mapping[str, SurfacePolicy]:
        """Surface -> its newest one, of the surfaces that have any."""
        ...


class UploadStore(Protocol):
    """The ledger and what hangs on a row. Runs inside the caller's transaction and never commits."""

    def record(self, event: UploadEvent) -> tuple[Upload, bool]:
        """Write down what a `created` event announces: the object's row, new or present, and the announcement.

        True: the row's task has to be sent, since it is new or starts over.
        """
        ...

    def begin_attempt(self, upload_id: int) -> Upload:
        """Lock the row, count an attempt, set it to `scoring`. Raises `NotFound`."""
        ...

    def finish(self, upload_id: int, state: UploadState, *, sha256: str | None = None) -> None: ...

    def retry(self, upload_id: int, *, not_before: datetime, error: str) -> None:
        """Back to `queued` after an attempt that counts, not to be tried before then."""
        ...

    def postpone(self, upload_id: int, *, not_before: datetime, error: str) -> None:
        """Like `retry`, but the attempt is given back: a server was away, and the image had no part in it."""
        ...


class ResultStore(Protocol):
    """Media, EXIF, scores, embeddings and verdicts. Runs inside the caller's transaction and never commits."""

    def find_examination(self, sha256: str, model: ModelVersion) -> Examination | None:
        """What is already known of these bytes under this version, without its embedding."""
        ...

    def save_examination(self, examination: Examination, model: ModelVersion) -> None:
        """Insert media, EXIF, score and embedding; rows that exist are left as they are."""
        ...

    def save_verdict(self, upload: Upload, examination: Examination, verdict: Verdict, model: ModelVersion) -> int:
        """Make this the upload's current verdict; opens a review item if `unsure`, and writes an outbox row for each
        announcement with a callback. Returns the verdict's id. At most one verdict exists per upload and model version.

        Raises:
            Overtaken: `upload` was deleted when the attempt began, and the object is back.
        """
        ...

    def bury(self, upload_id: int, *, stage: str, reason: str, detail: str) -> None:
        """Write a dead letter for the upload and set its state to `dead`."""
        ...


@dataclass(frozen=True, slots=True)
class VerifiedPhoto:
    """A photograph that the retraining policy trusts, with the traces that are stored of it."""

    sha256: str
    uploader_id: str | None
    make: str | None
    model: str | None
    surface: str
    embedding: NDArray[np.float32]
    """(528,)"""
    self_description: NDArray[np.float32]
    """(288,)"""
    patch_count: int
    """That both are of."""
    ai_probability: float
    handling: Handling | None = None
    """As told from the pixels; None where it was scored by a release that could not tell."""


CONFIRMED_AI = "confirmed_ai"
"""Side of a training set whose images only the gate looks at; the others are `retrain.select.Side`."""


class TrainingStore(Protocol):
    """What the nightly job reads, and the one thing that it writes."""

    def verified_photos(
        self, encoder_version: int, *, reviewers_needed: int, trusted_surfaces: Sequence[str], limit: int
    ) -> list[VerifiedPhoto]: ...

    def confirmed_ai(self, encoder_version: int, *, reviewers_needed: int, limit: int) -> list[VerifiedPhoto]: ...

    def record_members(self, model_version_id: int, sides: Mapping[str, str]) -> int:
        """Write down which bytes (SHA-256 -> side) a version was made from; returns how many of them still exist."""
        ...


@dataclass(frozen=True, slots=True)
class ScoredSample:
    """One scored upload, as the drift statistics see it."""

    surface: str
    log_likelihood: float
    ai_probability: float
    kind: str
    format: str
    make: str | None


class DriftStore(Protocol):
    def samples(self, model_id: int, start: datetime, end: datetime) -> Iterable[ScoredSample]: ...

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
    ) -> None: ...
