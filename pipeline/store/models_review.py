"""The tables of the review desk: items, decisions, appeals, and what leads set."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, SmallInteger, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.records import ItemState, Label, Lane, Purpose, VerdictKind
from pipeline.store.base import Base, Id, one_of
from pipeline.store.models import UploadRow, VerdictRow
from pipeline.store.models_ops import AliasChangeRow, AuditRow, ModelVersionRow

_OPEN = text("state = 'open'")


class ReviewItemRow(Base):
    """A verdict that waits for a person. Surface to p-value are copies: a filtered queue is read from one index.

    The lease is `held_by` until `held_until`: nobody has to end it, a lease that is over counts as none.
    """

    __tablename__ = "review_items"
    __table_args__ = (
        UniqueConstraint("verdict_id", "purpose"),
        one_of("purpose", Purpose),
        one_of("state", ItemState),
        one_of("kind", VerdictKind),
        one_of("lane", Lane),
        one_of("outcome", Label),
        one_of("golden_label", Label),
        Index("ix_review_items_open", "id", postgresql_where=_OPEN),
        Index("ix_review_items_open_riskiest", "p_value", "id", postgresql_where=_OPEN),
        Index("ix_review_items_oldest", "purpose", "id", postgresql_where=_OPEN),
        Index("ix_review_items_riskiest", "purpose", "p_value", "id", postgresql_where=_OPEN),
        Index("ix_review_items_surface", "surface", "id", postgresql_where=_OPEN),
        Index("ix_review_items_surface_riskiest", "surface", "p_value", "id", postgresql_where=_OPEN),
        Index("ix_review_items_lane", "lane", "id", postgresql_where=_OPEN),
        Index("ix_review_items_kind", "kind", "id", postgresql_where=_OPEN),
        Index("ix_review_items_format", "format", "id", postgresql_where=_OPEN),
        Index("ix_review_items_camera_make", "camera_make", "id", postgresql_where=_OPEN),
        Index("ix_review_items_model_version_id", "model_version_id", "id", postgresql_where=_OPEN),
        Index("ix_review_items_backlog", "surface", "purpose", "created_at", postgresql_where=_OPEN),
        Index("ix_review_items_held_by", "held_by", postgresql_where=text("held_by IS NOT NULL")),
        Index("ix_review_items_disputed", "id", postgresql_where=text("state = 'disputed'")),
        Index("ix_review_items_unprepared", "id", postgresql_where=text("state = 'open' AND prepared_at IS NULL")),
        Index(None, "closed_at"),
        Index(None, "upload_id"),
        Index(None, "sha256"),
    )

    id: Mapped[Id]
    verdict_id: Mapped[int] = mapped_column(ForeignKey(VerdictRow.id))
    upload_id: Mapped[int] = mapped_column(ForeignKey(UploadRow.id))
    sha256: Mapped[str]
    purpose: Mapped[str] = mapped_column(server_default=Purpose.UNSURE)
    state: Mapped[str] = mapped_column(server_default=ItemState.OPEN)
    surface: Mapped[str]
    lane: Mapped[str] = mapped_column(server_default=Lane.LIVE)
    kind: Mapped[str] = mapped_column(server_default=VerdictKind.UNSURE)
    """Of the verdict."""
    format: Mapped[str | None]
    camera_make: Mapped[str | None]
    """As the header claims."""
    model_version_id: Mapped[int] = mapped_column(ForeignKey(ModelVersionRow.id))
    p_value: Mapped[float | None]
    """The smaller, the riskier."""
    decisions_needed: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    """Of different reviewers, before the item is decided."""
    golden_label: Mapped[str | None]
    """What a golden item is known to be; such an item is never closed by a decision."""
    outcome: Mapped[str | None]
    """What was decided; `cant_tell` where reviewers could not tell, None where nothing was decided."""
    held_by: Mapped[str | None]
    held_since: Mapped[datetime | None]
    """When the holder was shown it; None while it is only loaded ahead."""
    held_until: Mapped[datetime | None]
    prepared_at: Mapped[datetime | None]
    """When its pictures were drawn."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    closed_at: Mapped[datetime | None]


class DecisionRow(Base):
    """Append-only: what a reviewer said about an image."""

    __tablename__ = "decisions"
    __table_args__ = (
        one_of("label", Label),
        Index(None, "review_item_id", "id"),
        Index(None, "sha256"),
        Index(None, "reviewer", "id"),
        Index(None, "created_at"),
    )

    id: Mapped[Id]
    review_item_id: Mapped[int] = mapped_column(ForeignKey(ReviewItemRow.id))
    sha256: Mapped[str]
    reviewer: Mapped[str]
    label: Mapped[str]
    reason: Mapped[str | None]
    note: Mapped[str]
    seconds: Mapped[float | None]
    """From the item's being shown to the decision; None where it was decided without being shown (bulk, API)."""
    is_final: Mapped[bool] = mapped_column(server_default=text("false"))
    """A lead's, which ends a disagreement."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RetractionRow(Base):
    """Append-only: a decision that its reviewer took back. It then counts for nothing, but stays to be read."""

    __tablename__ = "retractions"

    decision_id: Mapped[int] = mapped_column(ForeignKey(DecisionRow.id), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SkipRow(Base):
    """A reviewer passed an item on to others."""

    __tablename__ = "review_skips"

    review_item_id: Mapped[int] = mapped_column(ForeignKey(ReviewItemRow.id), primary_key=True)
    reviewer: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AppealRow(Base):
    """Somebody says that a verdict is wrong. Its review item has the purpose `appeal`."""

    __tablename__ = "appeals"
    __table_args__ = (UniqueConstraint("review_item_id"), Index(None, "upload_id"))

    id: Mapped[Id]
    review_item_id: Mapped[int] = mapped_column(ForeignKey(ReviewItemRow.id))
    upload_id: Mapped[int] = mapped_column(ForeignKey(UploadRow.id))
    appellant: Mapped[str | None]
    """Opaque to Lenswatch, like an uploader's id."""
    statement: Mapped[str]
    submitted_by: Mapped[str]
    """Name of the API key."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SurfacePolicyRow(Base):
    """Append-only: thresholds that a lead saved. A surface's newest row holds; without one, the settings do."""

    __tablename__ = "surface_policies"
    __table_args__ = (Index(None, "surface", "id"),)

    id: Mapped[Id]
    surface: Mapped[str]
    not_camera_fpr: Mapped[float]
    unsure_fpr: Mapped[float]
    decisions_needed: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    """Of different reviewers, for each item of this surface."""
    actor: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ScoreCountRow(Base):
    """How many verdicts had which p-value: what a change of thresholds would do, without reading scores.

    By the hour; the hours of days that are over are merged into one, which spares a window of weeks most of its rows.
    """

    __tablename__ = "score_counts"

    surface: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    """Its beginning; of a merged day, midnight UTC."""
    model_version_id: Mapped[int] = mapped_column(ForeignKey(ModelVersionRow.id), primary_key=True)
    p_bin: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    """ceil(1000 x p-value), 1 to 1000: exact for thresholds of whole tenths of a percent."""
    kind: Mapped[str] = mapped_column(primary_key=True)
    """Of the verdict as given."""
    is_withheld: Mapped[bool] = mapped_column("is_soft", primary_key=True)
    """Never called `camera`, whatever its p-value (`verdict.withheld`). The column has the name of the first reason
    that there was: a renamed one would be missing to processes of the release before."""
    count: Mapped[int]


APPEND_ONLY = tuple(
    row.__tablename__ for row in (AliasChangeRow, AuditRow, DecisionRow, RetractionRow, SurfacePolicyRow)
)
"""Tables whose rows a trigger protects from UPDATE, DELETE and TRUNCATE; only `store.removal` may delete from them."""
