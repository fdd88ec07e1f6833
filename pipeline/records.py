"""Records handed from stage to stage. Frozen: a stage returns a new one, it never edits an old one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pipeline.errors import RejectReason

PATCH_SIZE = 64
"""Side of a patch, px (SDAIE, section 2)."""

FEATURE_DIM = 528
"""Length of a patch feature and of an image embedding: the upper triangle of a 32x32 covariance."""

SELF_DESCRIPTION_DIM = 288
"""Length of an image's self-description: mean and deviation of 24 coefficients for each of 3 colours, at 2 scales."""

DOUBT = 0.02
"""p-value up to which an image is strange at one size, whatever its surface's policy: two looks are compared once."""

PDQ_BITS = 256
"""Length of a PDQ hash."""

Timings = dict[str, float]
"""Stage name -> milliseconds, in the order in which the stages ran."""

STAGES = ("fetch", "decode", "exif", "provenance", "patches", "detect", "score", "second_look")
"""In that order, which JSON in Postgres does not keep."""


class Lane(StrEnum):
    """Queues that never wait for one another."""

    LIVE = "live"
    RESCORE = "rescore"
    BACKFILL = "backfill"


class VerdictKind(StrEnum):
    CAMERA = "camera"
    UNSURE = "unsure"
    NOT_CAMERA = "not_camera"
    NOT_APPLICABLE = "not_applicable"
    REJECTED = "rejected"


class Handling(IntEnum):
    """What befell an image since it was made, as far as its pixels show. Calibration has a stratum for each."""

    AS_MADE = 0
    """Or saved again at most."""
    HANDLED = 1
    """Made smaller, sharpened, blurred a little."""
    SOFT = 2
    """Enlarged or blurred: the finest detail, which holds the traces of a camera, is gone."""


class NotApplicableReason(StrEnum):
    """Why the question 'did a camera form this?' has no answer for an image that decodes."""

    TOO_SMALL = "too_small"
    FLAT = "flat"
    GRAPHIC = "graphic"
    """Text, a screenshot, a chart, a flat drawing."""


class Label(StrEnum):
    """What a person says about an image."""

    CAMERA = "camera"
    NOT_CAMERA = "not_camera"
    CANT_TELL = "cant_tell"
    NOT_APPLICABLE = "not_applicable"


class Purpose(StrEnum):
    """Why a person is asked about a verdict."""

    UNSURE = "unsure"
    """The model was."""
    SAMPLE = "sample"
    """Drawn at random among the sure ones, to measure precision."""
    GOLDEN = "golden"
    """Its answer is known; it measures reviewers, who cannot tell it from others."""
    APPEAL = "appeal"


class ItemState(StrEnum):
    OPEN = "open"
    DISPUTED = "disputed"
    """Reviewers disagree; a lead decides."""
    DECIDED = "decided"
    WITHDRAWN = "withdrawn"
    """A newer model has answered, or the object is gone."""


class EventKind(StrEnum):
    CREATED = "created"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happened to a key."""

    sequencer: str | None
    """S3's own order of what happened to one key: hexadecimal, the shorter one padded with zeros on the right."""
    time: datetime

    def follows(self, other: Moment) -> bool:
        """Whether this came later: by sequencer where both have one, else by time."""
        if self.sequencer and other.sequencer:
            width = max(len(self.sequencer), len(other.sequencer))
            mine, theirs = (text.upper().ljust(width, "0") for text in (self.sequencer, other.sequencer))
            return mine > theirs
        return self.time > other.time


class UploadEvent(BaseModel):
    """One upload, or its end, as every door of Lenswatch says it. Version 1 of the published JSON Schema.

    An event names an object in a configured bucket; it never carries a URL (no SSRF), and `callback` is the *name* of
    a configured webhook endpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    kind: EventKind = Field(
        default=EventKind.CREATED,
        description="`deleted`: the object is gone; with `version_id`, that version alone.",
    )
    event_id: str = Field(min_length=1, max_length=200, description="The sender's id of this event.")
    bucket: str = Field(min_length=1, max_length=255)
    key: str = Field(min_length=1, max_length=1024, description="Object key, not URL-encoded.")
    version_id: str | None = Field(default=None, max_length=1024)
    etag: str | None = Field(default=None, max_length=200, description="Without quotes.")
    sequencer: str | None = Field(
        default=None, pattern=r"^[0-9A-Fa-f]{1,64}$", description="S3's order of events on one key: hexadecimal."
    )
    uploaded_at: AwareDatetime = Field(description="When it happened; of a deletion, when the object was deleted.")
    surface: str = Field(default="default", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Where it was uploaded.")
    uploader_id: str | None = Field(default=None, max_length=200, description="Opaque to Lenswatch.")
    lane: Lane = Lane.LIVE
    callback: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")

    @property
    def identity(self) -> str:
        """What, beside bucket and key, makes an object's bytes this object's bytes."""
        return self.version_id or self.etag or f"event:{self.event_id}"

    @property
    def moment(self) -> Moment:
        return Moment(self.sequencer, self.uploaded_at)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's bytes, as S3 returned them."""

    content: bytes = field(repr=False)
    sha256: str


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Pixels as stored in the file (not rotated): uint8 RGB, (height, width, 3)."""

    pixels: NDArray[np.uint8] = field(repr=False)
    format: str
    """Pillow's name: JPEG, PNG, WEBP, HEIF, AVIF, TIFF."""

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


@dataclass(frozen=True, slots=True)
class ExifFacts:
    """What the header claims about the camera."""

    tags: Mapping[str, str | float | int]
    """ExifTool's names; numbers where the tag is a number (ExifTool's -n). GPS and serial numbers are left out."""
    reader: Literal["exiftool", "pillow"]
    warnings: tuple[str, ...] = ()

    @property
    def make(self) -> str | None:
        return _text(self.tags.get("Make"))

    @property
    def model(self) -> str | None:
        return _text(self.tags.get("Model"))


def _text(value: str | float | int | None) -> str | None:
    return None if value is None else str(value)


@dataclass(frozen=True, slots=True)
class ProvenanceClaim:
    """Something the file says about its own origin. A claim, never proof."""

    kind: Literal["c2pa", "iptc_digital_source_type", "generator"]
    value: str
    found_in: str
    """The tag or chunk, e.g. `XMP:CreatorTool`."""


@dataclass(frozen=True, slots=True)
class Patches:
    """Patches of one image, in the order of `pipeline.patches.cut`."""

    pixels: NDArray[np.uint8] = field(repr=False)
    """uint8 RGB, (n, 64, 64, 3)."""
    corners: NDArray[np.int32] = field(repr=False)
    """Top-left corner of each patch in the image, px, (n, 2): y, x."""


@dataclass(frozen=True, slots=True)
class EncoderOutput:
    """What the SDAIE encoder says of one image."""

    embedding: NDArray[np.float32] = field(repr=False)
    """(528,): the transformer's read-out, mean over `pipeline.windows`."""
    patch_features: NDArray[np.float32] = field(repr=False)
    """(n, 528): the second-order feature of each patch, before the transformer."""
    exif: NDArray[np.float32] = field(repr=False)
    """(K,): outputs of the 14 EXIF heads, one after the other, in the order of `encoder.json`."""


@dataclass(frozen=True, slots=True)
class DetectorOutput:
    encoder: EncoderOutput
    ai_probability: float
    """The binary network's probability that the image is generated, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A published release of the detector. Never edited: a refit is a new version."""

    id: int
    name: str
    encoder_version: int
    """Numeric version of `sdaie_encoder` on Triton; requests pin it."""
    binary_version: int
    artifact_prefix: str
    """Where the release's files lie in the model bucket."""
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ExifPrediction:
    """What the pixels say about one categorical EXIF tag, beside what the header claims."""

    tag: str
    predicted: str
    probability: float
    claimed: str | None
    claimed_probability: float | None
    """None where nothing is claimed, or the claimed value is none of the classes the network knows."""
    is_informed: bool = True
    """Whether the head is right more often, on photographs held out, than always saying the commonest class is."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one model version says about one image. It is a signal, never proof."""

    log_likelihood: float
    """`one_class.Views.log_likelihood`: standard deviations above a median photograph, the mean of weighted views."""
    percentile: float
    """Where the log-likelihood falls among the calibration photographs, 0-100; low = unlike any of them."""
    percentile_interval: Interval
    """95 % Clopper-Pearson interval of `percentile`."""
    ai_probability: float
    """The binary head's: network and residual statistics together."""
    fused: float
    """Both heads in one number; higher = more like a photograph."""
    p_value: float
    """Conformal p-value, in (0, 1]: at most a share alpha of photographs has one of alpha or less. It decides."""
    full_size_p_value: float
    """Conformal p-value of `fused`: the share of photographs at least as strange."""
    half_size_p_value: float | None
    """The same of the image at half its size (`second_look`); None where that was not asked about."""
    patch_log_likelihoods: tuple[float, ...]
    patch_corners: tuple[tuple[int, int], ...]
    """Top-left corner (y, x), px, of each patch, in the order of `patch_log_likelihoods`."""
    exif_predictions: tuple[ExifPrediction, ...]


@dataclass(frozen=True, slots=True)
class SurfacePolicy:
    """Thresholds of one surface, as promised false-positive rates."""

    not_camera_fpr: float = 0.02
    """A photograph is called `not_camera` at most this often."""
    unsure_fpr: float = 0.10
    """A photograph is called `not_camera` or `unsure` at most this often."""
    decisions_needed: int = 1
    """Of different reviewers, before an item of this surface is decided."""

    def thresholds(self) -> dict[str, float]:
        """What decided a verdict, by name: all that a verdict says of its policy."""
        return {"not_camera_fpr": self.not_camera_fpr, "unsure_fpr": self.unsure_fpr}


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything found out about one image, from its bytes alone."""

    sha256: str
    byte_size: int
    format: str | None = None
    width: int | None = None
    height: int | None = None
    exif: ExifFacts | None = None
    provenance: tuple[ProvenanceClaim, ...] = ()
    embedding: NDArray[np.float32] | None = field(default=None, repr=False)
    """(528,), the encoder's read-out."""
    self_description: NDArray[np.float32] | None = field(default=None, repr=False)
    """(288,), there where `embedding` is."""
    patch_count: int | None = None
    """That both are of."""
    score: Score | None = None
    rejected: RejectReason | None = None
    not_applicable: NotApplicableReason | None = None
    detail: str = ""
    timings_ms: Timings = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one answer to one upload event under one model version."""

    kind: VerdictKind
    reason: str
    """Machine-readable: a `RejectReason`, a `NotApplicableReason`, or which threshold decided."""
    policy: SurfacePolicy
    is_sampled: bool = False
    """Drawn at random, so that a person looks whether it is right."""

    @property
    def review(self) -> Purpose | None:
        """Why a person is asked about it; None: nobody is."""
        if self.kind is VerdictKind.UNSURE:
            return Purpose.UNSURE
        return Purpose.SAMPLE if self.is_sampled else None


class UploadState(StrEnum):
    """Where a ledger row stands. `done` and `dead` are the two ends."""

    QUEUED = "queued"
    SCORING = "scoring"
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Upload:
    """A ledger row."""

    id: int
    event: UploadEvent
    """The one that created the row; what later ones said of version, ETag, sequencer and time is taken over."""
    state: UploadState
    attempts: int
    """That may have failed by the image's own fault."""
    received_at: datetime
    queued_at: datetime
    """When it was received, or last started over."""
    postponements: int = 0
    """Attempts, since then, that failed because a server was away; they count as none."""
    deleted_at: datetime | None = None
    """When the object was deleted; None while it is there."""
