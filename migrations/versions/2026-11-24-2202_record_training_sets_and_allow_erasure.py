"""Record training sets and allow erasure.

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-24 22:02
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEXES: tuple[tuple[str, str, tuple[str, ...], str | None], ...] = (
    # What an erasure looks for.
    ("ix_uploads_uploader_id", "uploads", ("uploader_id",), None),
    ("ix_verdicts_sha256", "verdicts", ("sha256",), None),
    # Without these every deleted upload or announcement reads a whole table.
    ("ix_dead_letters_upload_id", "dead_letters", ("upload_id",), None),
    ("ix_outbox_announcement_id", "outbox", ("announcement_id",), None),
    # What retention looks for.
    ("ix_dead_letters_resolved_at", "dead_letters", ("resolved_at",), "resolved_at IS NOT NULL"),
    ("ix_outbox_settled", "outbox", ("created_at",), "delivered_at IS NOT NULL OR abandoned_at IS NOT NULL"),
    ("ix_deletions_received_at", "deletions", ("received_at",), None),
    ("ix_embeddings_created_at", "embeddings", ("created_at",), None),
    ("ix_media_created_at", "media", ("created_at",), None),
    ("ix_drift_snapshots_created_at", "drift_snapshots", ("created_at",), None),
    ("ix_audit_log_created_at", "audit_log", ("created_at",), None),
)
"""Name, table, columns, which rows."""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage
    _create_training_members()
    _create_erasures()
    for name, table, columns, rows in INDEXES:
        op.create_index(name, table, list(columns), postgresql_where=sa.text(rows) if rows else None)
    _replace_forbid_change(
        """
        IF TG_OP = 'DELETE' AND current_setting('lenswatch.erasure', true) = 'on' THEN
            RETURN NULL;  -- of a statement's trigger: go on
        END IF;
        """
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    _replace_forbid_change("")
    for name, table, *_ in reversed(INDEXES):
        op.drop_index(name, table_name=table)
    op.drop_table("erasures")
    op.drop_table("training_members")


def _replace_forbid_change(exception: str) -> None:
    """Tables that are only ever added to, but for what `exception` lets through."""
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            {exception}
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
        """
    )


def _create_training_members() -> None:
    op.create_table(
        "training_members",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("model_version_id", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "side IN ('fit', 'calibration', 'held_out', 'confirmed_ai')", name=op.f("ck_training_members_side")
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_training_members_model_version_id_model_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["sha256"], ["media.sha256"], name=op.f("fk_training_members_sha256_media"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sha256", "model_version_id", name=op.f("pk_training_members")),
    )


def _create_erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("models", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("remaining", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('uploader', 'object', 'content')", name=op.f("ck_erasures_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
