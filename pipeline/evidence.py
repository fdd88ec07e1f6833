"""What a person is shown about one upload, as records: `store/evidence.py` reads them, the review desk draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.records import (
    ExifFacts,
    Label,
    ModelVersion,
    NotApplicableReason,
    ProvenanceClaim,
    Purpose,
    Score,
    SurfacePolicy,
    Upload,
    UploadEvent,
    VerdictKind,
)


@dataclass(frozen=True, slots=True)
class Drawable:
    """What pictures of an upload are made from."""

    event: UploadEvent
    sha256: str
    width: int
    """Of the decoded image, px, before it is turned."""
    height: int
    format: str | None
    tags: Mapping[str, str | float | int]
    """The header's, which say how the image is to be turned."""
    score: Score | None
    model_id: int | None
    """Whose score it is."""


@dataclass(frozen=True, slots=True)
class Media:
    """The bytes, as they were decoded."""

    sha256: str
    byte_size: int
    format: str | None
    width: int | None
    height: int | None
    provenance: tuple[ProvenanceClaim, ...]
    rejected: str | None
    not_applicable: NotApplicableReason | None
    detail: str


@dataclass(frozen=True, slots=True)
class CurrentVerdict:
    """The verdict that holds now."""

    kind: VerdictKind
    reason: str
    policy: SurfacePolicy
    model: ModelVersion
    decided_at: datetime
    timings_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EarlierVerdict:
    """What another model version said."""

    model_version: str
    kind: VerdictKind
    p_value: float | None
    log_likelihood: float | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A verified photograph whose embedding is near."""

    upload_id: int | None
    """One that has these bytes, for its picture; None where none is left."""
    make: str | None
    model: str | None
    distance: float
    """Euclidean, between embeddings."""


@dataclass(frozen=True, slots=True)
class NearCopy:
    """An upload of the same bytes, or of an image that looks alike."""

    upload_id: int
    sha256: str
    distance: int
    """PDQ bits that differ, of 256; 0 for the same bytes."""
    surface: str
    uploader_id: str | None
    uploaded_at: datetime
    kind: VerdictKind | None
    """Of its verdict; None where it has none."""
    item_id: int | None
    """Its open review item, of those that may be decided together (no appeal, no golden one)."""
    held_by: str | None
    """Who has that item; a lease that is over counts as none."""


@dataclass(frozen=True, slots=True)
class EarlierDecision:
    """What a person said about the image, or one that looks alike; never one that was taken back."""

    item_id: int
    upload_id: int
    reviewer: str
    label: Label
    reason: str | None
    note: str
    purpose: Purpose
    is_final: bool
    created_at: datetime
    is_same_image: bool


@dataclass(frozen=True, slots=True)
class OpenItem:
    id: int
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything known of one upload. What is None or empty was not found out."""

    upload: Upload
    sha256: str | None
    media: Media | None
    exif: ExifFacts | None
    verdict: CurrentVerdict | None
    score: Score | None
    """Of the current verdict's model version."""
    earlier_verdicts: tuple[EarlierVerdict, ...]
    neighbours: tuple[Neighbour, ...]
    near_copies: tuple[NearCopy, ...]
    """Without the upload itself."""
    decisions: tuple[EarlierDecision, ...]
    """Newest first."""
    open_items: tuple[OpenItem, ...]
