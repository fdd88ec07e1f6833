"""The tables of the model registry, the monitors and the audit log."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.erase import SubjectKind
from pipeline.ports import CONFIRMED_AI
from pipeline.retrain.select import Side
from pipeline.store.base import Base, Id, Json, one_of
from pipeline.store.models import MediaRow


class ModelVersionRow(Base):
    """A published release. Never edited."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("name"), UniqueConstraint("artifact_prefix"))

    id: Mapped[Id]
    name: Mapped[str]
    base_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))
    """The version whose networks a refit kept."""
    encoder_version: Mapped[int]
    binary_version: Mapped[int]
    artifact_prefix: Mapped[str]
    card: Mapped[Json]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ModelAliasRow(Base):
    """Where `champion` and `challenger` point now."""

    __tablename__ = "model_aliases"
    __table_args__ = (one_of("alias", "champion", "challenger"),)

    alias: Mapped[str] = mapped_column(primary_key=True)
    model_version_id: Mapped[int | None] = mapped_column(ForeignKey(ModelVersionRow.id))
    """None once a challenger was promoted."""
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AliasChangeRow(Base):
    """Append-only: every move of an alias. Rollback reads it."""

    __tablename__ = "model_alias_history"
    __table_args__ = (Index(None, "alias", "id"),)

    id: Mapped[Id]
    alias: Mapped[str] = mapped_column(ForeignKey(ModelAliasRow.alias))
    previous_id: Mapped[int | None] = mapped_column(ForeignKey(ModelVersionRow.id))
    model_version_id: Mapped[int | None] = mapped_column(ForeignKey(ModelVersionRow.id))
    actor: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AuditRow(Base):
    """Append-only: who did what to which thing."""

    __tablename__ = "audit_log"
    __table_args__ = (Index(None, "subject", "id"), Index(None, "actor", "id"), Index(None, "created_at"))

    id: Mapped[Id]
    actor: Mapped[str]
    action: Mapped[str]
    """`review.decided`, `model.promoted`, ..."""
    subject: Mapped[str]
    """Kind and id: `review_item:12`, `model:champion`. A row's kind is its table's name without the plural's s: an
    erasure finds it by that."""
    detail: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class DriftSnapshotRow(Base):
    """One surface's statistics over one window; an empty surface stands for all of them together."""

    __tablename__ = "drift_snapshots"
    __table_args__ = (
        UniqueConstraint("model_version_id", "surface", "period_start", "period_end", name="uq_drift_snapshots_window"),
        Index(None, "surface", "period_start"),
        Index(None, "created_at"),
    )

    id: Mapped[Id]
    model_version_id: Mapped[int] = mapped_column(ForeignKey(ModelVersionRow.id))
    surface: Mapped[str]
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    count: Mapped[int]
    statistics: Mapped[Json]
    alerts: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class TrainingMemberRow(Base):
    """Which bytes a refit was made from, so that an erasure can say which models had used them. Goes with the bytes."""

    __tablename__ = "training_members"
    __table_args__ = (one_of("side", Side, CONFIRMED_AI),)

    sha256: Mapped[str] = mapped_column(ForeignKey(MediaRow.sha256, ondelete="CASCADE"), primary_key=True)
    model_version_id: Mapped[int] = mapped_column(ForeignKey(ModelVersionRow.id), primary_key=True)
    side: Mapped[str]


class ErasureRow(Base):
    """That something was erased, when, by whom, and how much; never what. One that broke off has no `finished_at`."""

    __tablename__ = "erasures"
    __table_args__ = (one_of("kind", SubjectKind),)

    id: Mapped[Id]
    kind: Mapped[str]
    actor: Mapped[str]
    counts: Mapped[Json] = mapped_column(server_default="{}")
    """Table or place -> rows removed; brought up to date in the transaction that removes them."""
    models: Mapped[list[Json]] = mapped_column(server_default="[]")
    """Models that had used the erased bytes: name, side, images."""
    remaining: Mapped[Json | None]
    """Table or place -> hits of the search afterwards."""
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]


class JobRunRow(Base):
    """When each nightly job last began and ended; beat keeps its own table in memory only."""

    __tablename__ = "job_runs"

    job: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
