"""The exception tree, drawn once.

::

    PipelineError
    ├── RetryableError          a server was slow, full or away: the ledger tries again later
    │   ├── ObjectStoreUnavailable
    │   ├── DetectorUnavailable
    │   ├── StoreUnavailable
    │   ├── PicturesBusy        this process draws one image at a time
    │   └── Overtaken           the upload changed while it was worked on
    ├── RejectedUpload(reason)  the bytes are the problem: a recorded outcome, never retried
    ├── DetectorConfused        no usable answer, perhaps by the fault of the image: few tries, then a dead letter
    ├── InvalidEvent            an event that cannot be understood: goes to the dead letters
    ├── UnstorableValue         a number out of range, or a text with a zero byte: no row has it
    ├── NotFound                the named upload, review item or model version does not exist
    └── Conflict                the request contradicts the present state (already decided, alias moved, ...)

Vendor exceptions (botocore, tritonclient, SQLAlchemy, ExifTool) are translated where they occur, in adapters and
store; nothing above those ever sees one.
"""

from __future__ import annotations

from enum import StrEnum


class PipelineError(Exception):
    """Base of every error that Lenswatch raises on purpose."""


class RetryableError(PipelineError):
    """A dependency failed in a way that may pass, whatever the image; the same work may be tried again."""


class ObjectStoreUnavailable(RetryableError):
    """S3 timed out, refused, or answered 5xx."""


class DetectorUnavailable(RetryableError):
    """Triton timed out, is full, or does not have the version that was asked for; or no version is the champion."""


class StoreUnavailable(RetryableError):
    """Postgres is away or ended the connection."""


class PicturesBusy(RetryableError):
    """This process draws other images; it draws one at a time."""


class Overtaken(RetryableError):
    """The upload changed while it was worked on, so that what was found out no longer holds."""


class RejectReason(StrEnum):
    """Why bytes cannot be scored. Stable, machine-readable; shown to the platform."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    OBJECT_MISSING = "object_missing"
    OBJECT_CHANGED = "object_changed"


class RejectedUpload(PipelineError):
    """The upload itself cannot be scored; an expected outcome, logged at INFO and never retried."""

    def __init__(self, reason: RejectReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class DetectorConfused(PipelineError):
    """The detector answered with numbers that are not finite."""


class InvalidEvent(PipelineError):
    """An event that does not follow the published schema."""


class UnstorableValue(PipelineError):
    """Postgres has no such value: a number out of range, or a text with a zero byte."""


class NotFound(PipelineError):
    """The thing asked for does not exist."""


class Conflict(PipelineError):
    """The request contradicts what is already recorded."""
