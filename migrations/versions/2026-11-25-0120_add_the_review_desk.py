"""Add the review desk: people, leases, appeals, policies.

Revision ID: 0007
Revises: 0006
Create Date: 2026-11-25 01:20
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import BIT

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NOW = sa.text("now()")
OPEN = "state = 'open'"
LABELS = "('camera', 'not_camera', 'cant_tell', 'not_applicable')"
KINDS = "('camera', 'unsure', 'not_camera', 'not_applicable', 'rejected')"

ITEM_CHECKS = {
    "purpose": "purpose IN ('unsure', 'sample', 'golden', 'appeal')",
    "kind": f"kind IN {KINDS}",
    "lane": "lane IN ('live', 'rescore', 'backfill')",
    "outcome": f"outcome IN {LABELS}",
    "golden_label": f"golden_label IN {LABELS}",
}
ITEM_INDEXES: dict[str, tuple[tuple[str, ...], str | None]] = {
    "ix_review_items_open": (("id",), OPEN),
    "ix_review_items_open_riskiest": (("p_value", "id"), OPEN),
    "ix_review_items_oldest": (("purpose", "id"), OPEN),
    "ix_review_items_riskiest": (("purpose", "p_value", "id"), OPEN),
    "ix_review_items_surface": (("surface", "id"), OPEN),
    "ix_review_items_surface_riskiest": (("surface", "p_value", "id"), OPEN),
    "ix_review_items_lane": (("lane", "id"), OPEN),
    "ix_review_items_kind": (("kind", "id"), OPEN),
    "ix_review_items_format": (("format", "id"), OPEN),
    "ix_review_items_camera_make": (("camera_make", "id"), OPEN),
    "ix_review_items_model_version_id": (("model_version_id", "id"), OPEN),
    "ix_review_items_backlog": (("surface", "purpose", "created_at"), OPEN),
    "ix_review_items_held_by": (("held_by",), "held_by IS NOT NULL"),
    "ix_review_items_disputed": (("id",), "state = 'disputed'"),
    "ix_review_items_unprepared": (("id",), f"{OPEN} AND prepared_at IS NULL"),
    "ix_review_items_closed_at": (("closed_at",), None),
    "ix_review_items_sha256": (("sha256",), None),
}
"""Name -> columns, which rows."""

APPEND_ONLY = ("retractions", "surface_policies")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage
    _create_people()
    _widen_items()
    _widen_decisions()
    _create_review_tables()
    _create_policies_and_counts()
    _widen_evidence()
    _index_searches()
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION forbid_change()"
        )


def downgrade() -> None:
    """Items that only this version knows go, with their decisions, and what was taken back; of the others the first
    decision of each reviewer stays."""
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL lenswatch.erasure = 'on'")
    _unindex_searches()
    op.drop_table("score_counts")
    op.drop_table("surface_policies")
    op.drop_table("appeals")
    op.drop_table("review_skips")
    op.execute(
        "WITH back AS (DELETE FROM retractions RETURNING decision_id)"
        " DELETE FROM decisions USING back WHERE id = decision_id"
    )
    op.drop_table("retractions")
    _narrow_decisions()
    _narrow_items()
    _narrow_evidence()
    op.drop_table("sessions")
    op.drop_table("accounts")


def _create_people() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("oidc_subject", sa.Text(), nullable=True),
        sa.Column("failed_sign_ins", sa.Integer(), server_default="0", nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signed_in_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.CheckConstraint("role IN ('viewer', 'reviewer', 'lead', 'admin')", name=op.f("ck_accounts_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
        sa.UniqueConstraint("oidc_subject", name=op.f("uq_accounts_oidc_subject")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_sessions_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_account_id", "sessions", ["account_id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])


def _widen_items() -> None:
    for column in (
        sa.Column("purpose", sa.Text(), server_default="unsure", nullable=False),
        sa.Column("lane", sa.Text(), server_default="live", nullable=False),
        sa.Column("kind", sa.Text(), server_default="unsure", nullable=False),
        sa.Column("format", sa.Text(), nullable=True),
        sa.Column("camera_make", sa.Text(), nullable=True),
        sa.Column("model_version_id", sa.BigInteger(), nullable=True),
        sa.Column("p_value", sa.Double(), nullable=True),
        sa.Column("decisions_needed", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("golden_label", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("held_by", sa.Text(), nullable=True),
        sa.Column("held_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("prepared_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("review_items", column)
    op.execute(
        """
        UPDATE review_items item SET
            lane = u.lane, kind = v.kind, format = m.format, camera_make = e.make,
            model_version_id = v.model_version_id, p_value = s.p_value
        FROM verdicts v
            JOIN uploads u ON u.id = v.upload_id
            LEFT JOIN media m ON m.sha256 = v.sha256
            LEFT JOIN exif e ON e.sha256 = v.sha256
            LEFT JOIN scores s ON s.sha256 = v.sha256 AND s.model_version_id = v.model_version_id
        WHERE v.id = item.verdict_id
        """
    )
    op.execute(
        """
        UPDATE review_items item SET outcome = d.label
        FROM (SELECT DISTINCT ON (review_item_id) review_item_id, label FROM decisions ORDER BY review_item_id, id) d
        WHERE d.review_item_id = item.id AND item.state = 'decided'
        """
    )
    op.alter_column("review_items", "model_version_id", nullable=False)
    op.create_foreign_key(
        op.f("fk_review_items_model_version_id_model_versions"),
        "review_items",
        "model_versions",
        ["model_version_id"],
        ["id"],
    )
    op.drop_constraint("uq_review_items_verdict_id", "review_items")
    op.create_unique_constraint(op.f("uq_review_items_verdict_id_purpose"), "review_items", ["verdict_id", "purpose"])
    op.drop_constraint(op.f("ck_review_items_state"), "review_items")
    op.create_check_constraint(
        op.f("ck_review_items_state"), "review_items", "state IN ('open', 'disputed', 'decided', 'withdrawn')"
    )
    for name, check in ITEM_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_review_items_{name}"), "review_items", check)
    op.drop_index("ix_review_items_state_surface_id", table_name="review_items")
    for name, (columns, rows) in ITEM_INDEXES.items():
        op.create_index(name, "review_items", list(columns), postgresql_where=sa.text(rows) if rows else None)


def _narrow_items() -> None:
    op.execute("DELETE FROM decisions d USING review_items i WHERE i.id = d.review_item_id AND i.purpose <> 'unsure'")
    op.execute("DELETE FROM review_items WHERE purpose <> 'unsure'")
    op.execute("UPDATE review_items SET state = 'decided' WHERE state = 'disputed'")
    for name in ITEM_INDEXES:
        op.drop_index(name, table_name="review_items")
    op.drop_constraint(op.f("ck_review_items_state"), "review_items")
    op.create_check_constraint(
        op.f("ck_review_items_state"), "review_items", "state IN ('open', 'decided', 'withdrawn')"
    )
    op.drop_constraint("uq_review_items_verdict_id_purpose", "review_items")
    op.create_unique_constraint(op.f("uq_review_items_verdict_id"), "review_items", ["verdict_id"])
    for column in (*ITEM_CHECKS, "format", "camera_make", "model_version_id", "p_value", "decisions_needed"):
        op.drop_column("review_items", column)
    for column in ("held_by", "held_since", "held_until", "prepared_at"):
        op.drop_column("review_items", column)
    op.create_index("ix_review_items_state_surface_id", "review_items", ["state", "surface", "id"])


def _widen_decisions() -> None:
    op.add_column("decisions", sa.Column("reason", sa.Text(), nullable=True))
    op.add_column("decisions", sa.Column("seconds", sa.Double(), nullable=True))
    op.add_column("decisions", sa.Column("is_final", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.drop_constraint("uq_decisions_review_item_id_reviewer", "decisions")  # who took a decision back may decide again
    op.drop_constraint(op.f("ck_decisions_label"), "decisions")
    op.create_check_constraint(op.f("ck_decisions_label"), "decisions", f"label IN {LABELS}")
    op.create_index("ix_decisions_review_item_id_id", "decisions", ["review_item_id", "id"])
    op.create_index("ix_decisions_reviewer_id", "decisions", ["reviewer", "id"])
    op.create_index("ix_decisions_created_at", "decisions", ["created_at"])
    op.create_index("ix_audit_log_actor_id", "audit_log", ["actor", "id"])
    op.create_index("ix_drift_snapshots_surface_period_start", "drift_snapshots", ["surface", "period_start"])


def _narrow_decisions() -> None:
    op.execute(
        """
        DELETE FROM decisions d WHERE label NOT IN ('camera', 'not_camera') OR EXISTS (
            SELECT FROM decisions o
            WHERE o.review_item_id = d.review_item_id AND o.reviewer = d.reviewer AND o.id < d.id
        )
        """
    )
    op.drop_index("ix_drift_snapshots_surface_period_start", table_name="drift_snapshots")
    op.drop_index("ix_audit_log_actor_id", table_name="audit_log")
    op.drop_index("ix_decisions_created_at", table_name="decisions")
    op.drop_index("ix_decisions_reviewer_id", table_name="decisions")
    op.drop_index("ix_decisions_review_item_id_id", table_name="decisions")
    op.drop_constraint(op.f("ck_decisions_label"), "decisions")
    op.create_check_constraint(op.f("ck_decisions_label"), "decisions", "label IN ('camera', 'not_camera')")
    op.create_unique_constraint(
        op.f("uq_decisions_review_item_id_reviewer"), "decisions", ["review_item_id", "reviewer"]
    )
    for column in ("is_final", "seconds", "reason"):
        op.drop_column("decisions", column)


def _create_review_tables() -> None:
    op.create_table(
        "retractions",
        sa.Column("decision_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decisions.id"], name=op.f("fk_retractions_decision_id_decisions")),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_retractions")),
    )
    op.create_table(
        "review_skips",
        sa.Column("review_item_id", sa.BigInteger(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["review_item_id"], ["review_items.id"], name=op.f("fk_review_skips_review_item_id_review_items")
        ),
        sa.PrimaryKeyConstraint("review_item_id", "reviewer", name=op.f("pk_review_skips")),
    )
    op.create_table(
        "appeals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("review_item_id", sa.BigInteger(), nullable=False),
        sa.Column("upload_id", sa.BigInteger(), nullable=False),
        sa.Column("appellant", sa.Text(), nullable=True),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["review_item_id"], ["review_items.id"], name=op.f("fk_appeals_review_item_id_review_items")
        ),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name=op.f("fk_appeals_upload_id_uploads")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_appeals")),
        sa.UniqueConstraint("review_item_id", name=op.f("uq_appeals_review_item_id")),
    )
    op.create_index("ix_appeals_upload_id", "appeals", ["upload_id"])


def _create_policies_and_counts() -> None:
    op.create_table(
        "surface_policies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("not_camera_fpr", sa.Double(), nullable=False),
        sa.Column("unsure_fpr", sa.Double(), nullable=False),
        sa.Column("decisions_needed", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_surface_policies")),
    )
    op.create_index("ix_surface_policies_surface_id", "surface_policies", ["surface", "id"])
    op.create_table(
        "score_counts",
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model_version_id", sa.BigInteger(), nullable=False),
        sa.Column("p_bin", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("is_soft", sa.Boolean(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_versions.id"], name=op.f("fk_score_counts_model_version_id_model_versions")
        ),
        sa.PrimaryKeyConstraint(
            "surface", "hour", "model_version_id", "p_bin", "kind", "is_soft", name=op.f("pk_score_counts")
        ),
    )


def _widen_evidence() -> None:
    op.add_column("media", sa.Column("pdq", BIT(256), nullable=True))
    op.add_column("media", sa.Column("drawn_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("media", sa.Column("left_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_media_left", "media", ["left_at"], postgresql_where=sa.text("left_at IS NOT NULL"))
    op.create_index(
        "ix_media_pdq",
        "media",
        ["pdq"],
        postgresql_using="hnsw",
        postgresql_ops={"pdq": "bit_hamming_ops"},
        postgresql_where=sa.text("pdq IS NOT NULL"),
    )
    op.add_column("embeddings", sa.Column("is_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index(
        "ix_embeddings_verified",
        "embeddings",
        ["embedding"],
        postgresql_using="hnsw",
        postgresql_ops={"embedding": "vector_l2_ops"},
        postgresql_where=sa.text("is_verified"),
    )
    op.add_column("outbox", sa.Column("about", sa.Text(), server_default="verdict", nullable=False))
    op.create_check_constraint(op.f("ck_outbox_about"), "outbox", "about IN ('verdict', 'review')")
    op.drop_constraint("uq_outbox_verdict_id_announcement_id", "outbox")
    op.create_index(
        "uq_outbox_verdict",
        "outbox",
        ["verdict_id", "announcement_id"],
        unique=True,
        postgresql_where=sa.text("about = 'verdict'"),
    )
    op.create_index("ix_outbox_verdict_id", "outbox", ["verdict_id"])


def _narrow_evidence() -> None:
    op.execute("DELETE FROM outbox WHERE about <> 'verdict'")
    op.drop_index("ix_outbox_verdict_id", table_name="outbox")
    op.drop_index("uq_outbox_verdict", table_name="outbox")
    op.create_unique_constraint(
        op.f("uq_outbox_verdict_id_announcement_id"), "outbox", ["verdict_id", "announcement_id"]
    )
    op.drop_column("outbox", "about")
    op.drop_index("ix_embeddings_verified", table_name="embeddings")
    op.drop_column("embeddings", "is_verified")
    op.drop_index("ix_media_pdq", table_name="media")
    op.drop_index("ix_media_left", table_name="media")
    op.drop_column("media", "left_at")
    op.drop_column("media", "drawn_at")
    op.drop_column("media", "pdq")


def _index_searches() -> None:
    """In the order in which pages show them: an uploader may have very many uploads."""
    op.drop_index("ix_uploads_uploader_id", table_name="uploads")
    op.create_index("ix_uploads_uploader_id_id", "uploads", ["uploader_id", "id"])
    op.create_index("ix_dead_letters_open", "dead_letters", ["id"], postgresql_where=sa.text("resolved_at IS NULL"))


def _unindex_searches() -> None:
    op.drop_index("ix_dead_letters_open", table_name="dead_letters")
    op.drop_index("ix_uploads_uploader_id_id", table_name="uploads")
    op.create_index("ix_uploads_uploader_id", "uploads", ["uploader_id"])
