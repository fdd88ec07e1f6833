"""The tables one upload passes through, in its order. Others: `models_ops`, `models_review`, `models_people`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pgvector.sqlalchemy import BIT, Vector
from sqlalchemy import Computed, ForeignKey, Index, SmallInteger, Text, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.errors import RejectReason
from pipeline.records import (
    FEATURE_DIM,
    PDQ_BITS,
    SELF_DESCRIPTION_DIM,
    Lane,
    NotApplicableReason,
    UploadState,
    VerdictKind,
)
from pipeline.store.base import Base, Id, Json, one_of

ObjectKey = Annotated[str, mapped_column(Text(collation="C"))]
"""Keys are bytes, not language, and S3 lists them in this order."""


class UploadRow(Base):
    """The ledger: one row per object that was announced, the truth that queues only hint at.

    It keeps the event that created it; `sequencer` and `uploaded_at` are those of the newest announcement.
    """

    __tablename__ = "uploads"
    __table_args__ = (
        UniqueConstraint("bucket", "object_key", "identity"),
        one_of("state", UploadState),
        one_of("lane", Lane),
        Index(None, "sha256"),
        Index(None, "received_at"),
        Index(None, "uploader_id", "id"),
        Index("ix_uploads_unfinished", "lane", "updated_at", postgresql_where=text("state IN ('queued', 'scoring')")),
        Index(
            "ix_uploads_postponed", "not_before", postgresql_where=text("state = 'queued' AND not_before IS NOT NULL")
        ),
        Index("ix_uploads_object_order", "bucket", "object_key", "sequencer_order"),
    )

    id: Mapped[Id]
    event_id: Mapped[str]
    bucket: Mapped[str]
    object_key: Mapped[ObjectKey]
    identity: Mapped[str]
    """Version id, else etag, else the event's id: `UploadEvent.identity`."""
    version_id: Mapped[str | None]
    etag: Mapped[str | None]
    sequencer: Mapped[str | None]
    sequencer_order: Mapped[str | None] = mapped_column(
        Computed("rpad(upper(sequencer), 64, '0') COLLATE \"C\"", persisted=True)
    )
    """Sequencers differ in length; S3 orders them as text after the shorter one is padded with zeros on the right."""
    surface: Mapped[str]
    uploader_id: Mapped[str | None]
    lane: Mapped[str]
    callback: Mapped[str | None]
    uploaded_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())
    queued_at: Mapped[datetime] = mapped_column(server_default=func.now())
    """When it was received, or last started over."""
    deleted_at: Mapped[datetime | None]
    """When the object was deleted; None while it is there."""
    state: Mapped[str] = mapped_column(server_default=UploadState.QUEUED)
    attempts: Mapped[int] = mapped_column(server_default="0")
    postponements: Mapped[int] = mapped_column(server_default="0")
    """Attempts that were given back, because a server was away."""
    not_before: Mapped[datetime | None]
    """Set while a retry waits; the re-sender clears it."""
    last_error: Mapped[str | None]
    sha256: Mapped[str | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AnnouncementRow(Base):
    """Every event that announced an upload, the first one too; each gets an answer of its own."""

    __tablename__ = "announcements"
    __table_args__ = (UniqueConstraint("upload_id", "event_id"), Index(None, "event_id"))

    id: Mapped[Id]
    upload_id: Mapped[int] = mapped_column(ForeignKey(UploadRow.id, ondelete="CASCADE"))
    event_id: Mapped[str]
    callback: Mapped[str | None]
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DeletionRow(Base):
    """What was said to be deleted. Kept, for the event of the upload may be the later one to arrive."""

    __tablename__ = "deletions"
    __table_args__ = (UniqueConstraint("bucket", "object_key", "event_id"), Index(None, "received_at"))

    id: Mapped[Id]
    bucket: Mapped[str]
    object_key: Mapped[ObjectKey]
    version_id: Mapped[str | None]
    """The one version that is gone; None: whatever the key held."""
    event_id: Mapped[str]
    sequencer: Mapped[str | None]
    deleted_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(server_default=func.now())


class MediaRow(Base):
    """Distinct bytes, by content; several uploads may be the same bytes."""

    __tablename__ = "media"
    __table_args__ = (
        one_of("rejected", RejectReason),
        one_of("not_applicable", NotApplicableReason),
        Index(None, "created_at"),
        Index(
            "ix_media_pdq",
            "pdq",
            postgresql_using="hnsw",
            postgresql_ops={"pdq": "bit_hamming_ops"},
            postgresql_where=text("pdq IS NOT NULL"),
        ),
        Index("ix_media_left", "left_at", postgresql_where=text("left_at IS NOT NULL")),
    )

    sha256: Mapped[str] = mapped_column(primary_key=True)
    format: Mapped[str | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    byte_size: Mapped[int]
    provenance: Mapped[list[Json]]
    rejected: Mapped[str | None]
    not_applicable: Mapped[str | None]
    detail: Mapped[str]
    pdq: Mapped[str | None] = mapped_column(BIT(PDQ_BITS))
    """Perceptual hash (Meta's PDQ) of images that a person was asked about: near copies differ in few bits."""
    drawn_at: Mapped[datetime | None]
    """When pictures of it were last made, which lie in the model bucket; None: there are none."""
    left_at: Mapped[datetime | None]
    """When an object with these bytes was deleted, as long as nobody has seen to their pictures since."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ExifRow(Base):
    """What the header claims."""

    __tablename__ = "exif"
    __table_args__ = (one_of("reader", "exiftool", "pillow"), Index(None, "make", "model"))

    sha256: Mapped[str] = mapped_column(ForeignKey(MediaRow.sha256, ondelete="CASCADE"), primary_key=True)
    make: Mapped[str | None]
    model: Mapped[str | None]
    tags: Mapped[Json]
    reader: Mapped[str]
    warnings: Mapped[list[str]]


class ScoreRow(Base):
    """What one model version says about the bytes; `pipeline.records.Score`, column by column."""

    __tablename__ = "scores"
    __table_args__ = (Index(None, "model_version_id", "created_at"),)

    sha256: Mapped[str] = mapped_column(ForeignKey(MediaRow.sha256, ondelete="CASCADE"), primary_key=True)
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    log_likelihood: Mapped[float]
    percentile: Mapped[float]
    percentile_low: Mapped[float]
    percentile_high: Mapped[float]
    ai_probability: Mapped[float]
    fused: Mapped[float]
    p_value: Mapped[float]
    full_size_p_value: Mapped[float | None]
    """None in scores from before there was a second look."""
    half_size_p_value: Mapped[float | None]
    patch_log_likelihoods: Mapped[list[float]]
    patch_corners: Mapped[list[Any]] = mapped_column(JSONB)
    """[[y, x], ...], px, in the order of `patch_log_likelihoods`."""
    exif_predictions: Mapped[list[Json]]
    timings: Mapped[Json]
    """ms per stage."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    @property
    def first_look(self) -> float:
        """The p-value at full size, whether there was a second look or not."""
        return self.p_value if self.full_size_p_value is None else self.full_size_p_value


class EmbeddingRow(Base):
    """The traces that the one-class model looks at, kept so that a refit needs neither the photographs nor a GPU.

    `vector`, not `halfvec`: half precision moves log-likelihoods by more than the 1e-3 that a refit may differ.
    """

    __tablename__ = "embeddings"
    __table_args__ = (
        Index(None, "created_at"),
        Index(
            "ix_embeddings_verified",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "vector_l2_ops"},
            postgresql_where=text("is_verified"),
        ),
    )

    sha256: Mapped[str] = mapped_column(ForeignKey(MediaRow.sha256, ondelete="CASCADE"), primary_key=True)
    encoder_version: Mapped[int] = mapped_column(primary_key=True)
    embedding: Mapped[list[float]] = mapped_column(Vector(FEATURE_DIM))
    self_description: Mapped[list[float] | None] = mapped_column(Vector(SELF_DESCRIPTION_DIM))
    patch_count: Mapped[int | None] = mapped_column(SmallInteger)
    """That both are of, as means over `pipeline.windows`. None where no release since 0010 has looked at the image: the
    rest is of all patches at once, and a refit leaves it out."""
    is_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    """People agree that the image is a photograph: the neighbours that an evidence card names."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class VerdictRow(Base):
    """The one answer to an upload per model version; exactly one of them is current."""

    __tablename__ = "verdicts"
    __table_args__ = (
        UniqueConstraint("upload_id", "model_version_id"),
        Index("uq_verdicts_current", "upload_id", unique=True, postgresql_where=text("superseded_at IS NULL")),
        Index(None, "model_version_id", "created_at"),
        Index(None, "sha256"),
        one_of("kind", VerdictKind),
    )

    id: Mapped[Id]
    upload_id: Mapped[int] = mapped_column(ForeignKey(UploadRow.id))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    sha256: Mapped[str | None]
    """None where no bytes arrived: the object was missing or too large."""
    kind: Mapped[str]
    reason: Mapped[str]
    policy: Mapped[Json]
    timings: Mapped[Json]
    """ms per stage, of this upload."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    superseded_at: Mapped[datetime | None]


class DeadLetterRow(Base):
    """Work that was given up on, with the reason, until a person replays or drops it."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        Index("uq_dead_letters_open", "upload_id", unique=True, postgresql_where=text("resolved_at IS NULL")),
        Index("ix_dead_letters_open", "id", postgresql_where=text("resolved_at IS NULL")),
        Index("ix_dead_letters_waiting", "reason", "id", postgresql_where=text("resolved_at IS NULL")),
        one_of("resolution", "replayed", "dropped"),
        Index(None, "upload_id"),
        Index("ix_dead_letters_resolved_at", "resolved_at", postgresql_where=text("resolved_at IS NOT NULL")),
    )

    id: Mapped[Id]
    upload_id: Mapped[int | None] = mapped_column(ForeignKey(UploadRow.id))
    """None for an event that could not even be understood; then `payload` is what arrived."""
    stage: Mapped[str]
    reason: Mapped[str]
    detail: Mapped[str]
    payload: Mapped[Json | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None]
    resolved_by: Mapped[str | None]


class OutboxRow(Base):
    """Webhooks to send, written in the verdict's transaction so that neither exists without the other."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("delivery_id"),
        Index(
            "uq_outbox_verdict",
            "verdict_id",
            "announcement_id",
            unique=True,
            postgresql_where=text("about = 'verdict'"),
        ),
        Index(None, "verdict_id"),
        one_of("about", "verdict", "review"),
        Index(None, "announcement_id"),
        Index(
            "ix_outbox_waiting",
            "not_before",
            postgresql_where=text("delivered_at IS NULL AND abandoned_at IS NULL"),
        ),
        Index("ix_outbox_abandoned", "callback", "id", postgresql_where=text("abandoned_at IS NOT NULL")),
        Index(
            "ix_outbox_settled",
            "created_at",
            postgresql_where=text("delivered_at IS NOT NULL OR abandoned_at IS NOT NULL"),
        ),
    )

    id: Mapped[Id]
    delivery_id: Mapped[UUID] = mapped_column(server_default=func.gen_random_uuid())
    """Stable over every try and replay, so that the receiver can drop repetitions."""
    verdict_id: Mapped[int] = mapped_column(ForeignKey(VerdictRow.id))
    announcement_id: Mapped[int] = mapped_column(ForeignKey(AnnouncementRow.id))
    about: Mapped[str] = mapped_column(server_default="verdict")
    """The model's verdict, said once to each announcement, or what people decided: of a queue item, of an appeal."""
    callback: Mapped[str]
    payload: Mapped[Json]
    attempts: Mapped[int] = mapped_column(server_default="0")
    not_before: Mapped[datetime] = mapped_column(server_default=func.now())
    delivered_at: Mapped[datetime | None]
    abandoned_at: Mapped[datetime | None]
    replayed_at: Mapped[datetime | None]
    """When a person last had it sent again; attempts and patience count from here."""
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
