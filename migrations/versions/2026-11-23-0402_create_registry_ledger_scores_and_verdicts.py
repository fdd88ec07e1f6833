"""Create registry, ledger, scores and verdicts.

Revision ID: 0001
Revises:
Create Date: 2026-11-23 04:02
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("model_alias_history",)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    _create_forbid_change()
    _create_media()
    _create_model_versions()
    _create_uploads()
    _create_embeddings()
    _create_exif()
    _create_model_aliases()
    _create_scores()
    _create_verdicts()
    _create_model_alias_history()
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION forbid_change()"
        )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    for table in (
        "model_alias_history",
        "verdicts",
        "scores",
        "model_aliases",
        "exif",
        "embeddings",
        "uploads",
        "model_versions",
        "media",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION forbid_change")


def _create_forbid_change() -> None:
    """For triggers on tables that are only ever added to, whoever asks."""
    op.execute(
        """
        CREATE FUNCTION forbid_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
        """
    )


def _create_media() -> None:
    op.create_table(
        "media",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("byte_size", sa.Integer(), nullable=False),
        sa.Column("provenance", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rejected", sa.Text(), nullable=True),
        sa.Column("not_applicable", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("not_applicable IN ('too_small', 'flat')", name=op.f("ck_media_not_applicable")),
        sa.CheckConstraint(
            "rejected IN ('empty', 'too_large', 'too_many_pixels', 'unsupported_format'"
            ", 'truncated', 'corrupt', 'object_missing', 'object_changed')",
            name=op.f("ck_media_rejected"),
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_media")),
    )


def _create_model_versions() -> None:
    op.create_table(
        "model_versions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("base_id", sa.BigInteger(), nullable=True),
        sa.Column("encoder_version", sa.Integer(), nullable=False),
        sa.Column("binary_version", sa.Integer(), nullable=False),
        sa.Column("artifact_prefix", sa.Text(), nullable=False),
        sa.Column("card", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["base_id"], ["model_versions.id"], name=op.f("fk_model_versions_base_id_model_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("artifact_prefix", name=op.f("uq_model_versions_artifact_prefix")),
        sa.UniqueConstraint("name", name=op.f("uq_model_versions_name")),
    )


def _create_uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("sequencer", sa.Text(), nullable=True),
        sa.Column(
            "sequencer_order",
            sa.Text(),
            sa.Computed("rpad(upper(sequencer), 64, '0') COLLATE \"C\"", persisted=True),
            nullable=True,
        ),
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("uploader_id", sa.Text(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("callback", sa.Text(), nullable=True),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("lane IN ('live', 'rescore', 'backfill')", name=op.f("ck_uploads_lane")),
        sa.CheckConstraint("state IN ('queued', 'scoring', 'done', 'dead')", name=op.f("ck_uploads_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("bucket", "object_key", "identity", name=op.f("uq_uploads_bucket_object_key_identity")),
    )
    op.create_index(op.f("ix_uploads_event_id"), "uploads", ["event_id"], unique=False)
    op.create_index("ix_uploads_object_order", "uploads", ["bucket", "object_key", "sequencer_order"], unique=False)
    op.create_index(
        "ix_uploads_postponed",
        "uploads",
        ["not_before"],
        unique=False,
        postgresql_where=sa.text("state = 'queued' AND not_before IS NOT NULL"),
    )
    op.create_index(op.f("ix_uploads_received_at"), "uploads", ["received_at"], unique=False)
    op.create_index(op.f("ix_uploads_sha256"), "uploads", ["sha256"], unique=False)
    op.create_index(
        "ix_uploads_unfinished",
        "uploads",
        ["lane", "updated_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'scoring')"),
    )


def _create_embeddings() -> None:
    op.create_table(
        "embeddings",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("encoder_version", sa.Integer(), nullable=False),
        sa.Column("embedding", Vector(528), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"], ["media.sha256"], name=op.f("fk_embeddings_sha256_media"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sha256", "encoder_version", name=op.f("pk_embeddings")),
    )


def _create_exif() -> None:
    op.create_table(
        "exif",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("make", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("tags", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("warnings", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.CheckConstraint("reader IN ('exiftool', 'pillow')", name=op.f("ck_exif_reader")),
        sa.ForeignKeyConstraint(["sha256"], ["media.sha256"], name=op.f("fk_exif_sha256_media"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_exif")),
    )
    op.create_index(op.f("ix_exif_make_model"), "exif", ["make", "model"], unique=False)


def _create_model_aliases() -> None:
    op.create_table(
        "model_aliases",
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("model_version_id", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("alias IN ('champion', 'challenger')", name=op.f("ck_model_aliases_alias")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_versions.id"], name=op.f("fk_model_aliases_model_version_id_model_versions")
        ),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_model_aliases")),
    )


def _create_scores() -> None:
    op.create_table(
        "scores",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("model_version_id", sa.BigInteger(), nullable=False),
        sa.Column("log_likelihood", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("percentile", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("percentile_low", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("percentile_high", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("ai_probability", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("fused", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("p_value", sa.DOUBLE_PRECISION(), nullable=False),
        sa.Column("patch_log_likelihoods", postgresql.ARRAY(sa.DOUBLE_PRECISION()), nullable=False),
        sa.Column("patch_corners", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("exif_predictions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("timings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_versions.id"], name=op.f("fk_scores_model_version_id_model_versions")
        ),
        sa.ForeignKeyConstraint(["sha256"], ["media.sha256"], name=op.f("fk_scores_sha256_media"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sha256", "model_version_id", name=op.f("pk_scores")),
    )
    op.create_index(
        op.f("ix_scores_model_version_id_created_at"), "scores", ["model_version_id", "created_at"], unique=False
    )


def _create_verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("upload_id", sa.BigInteger(), nullable=False),
        sa.Column("model_version_id", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("policy", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("timings", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("superseded_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('camera', 'unsure', 'not_camera', 'not_applicable', 'rejected')", name=op.f("ck_verdicts_kind")
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_versions.id"], name=op.f("fk_verdicts_model_version_id_model_versions")
        ),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name=op.f("fk_verdicts_upload_id_uploads")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
        sa.UniqueConstraint("upload_id", "model_version_id", name=op.f("uq_verdicts_upload_id_model_version_id")),
    )
    op.create_index(
        op.f("ix_verdicts_model_version_id_created_at"), "verdicts", ["model_version_id", "created_at"], unique=False
    )
    op.create_index(
        "uq_verdicts_current", "verdicts", ["upload_id"], unique=True, postgresql_where=sa.text("superseded_at IS NULL")
    )


def _create_model_alias_history() -> None:
    op.create_table(
        "model_alias_history",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("previous_id", sa.BigInteger(), nullable=True),
        sa.Column("model_version_id", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["alias"], ["model_aliases.alias"], name=op.f("fk_model_alias_history_alias_model_aliases")
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_model_alias_history_model_version_id_model_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["previous_id"], ["model_versions.id"], name=op.f("fk_model_alias_history_previous_id_model_versions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_alias_history")),
    )
    op.create_index(op.f("ix_model_alias_history_alias_id"), "model_alias_history", ["alias", "id"], unique=False)
