"""Keep every announcement and deletion.

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-24 22:00
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage
    op.execute("SET LOCAL statement_timeout = 0")  # rewrites the ledger's indexes, and copies its events
    _change_uploads()
    _create_announcements()
    _create_deletions()
    _answer_announcements()
    _create_job_runs()
    op.create_index(
        "ix_dead_letters_waiting",
        "dead_letters",
        ["reason", "id"],
        unique=False,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )


def downgrade() -> None:
    """Loses the announcements that were not the first one of their upload, with the webhooks that answer them."""
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("SET LOCAL statement_timeout = 0")
    op.drop_index("ix_dead_letters_waiting", "dead_letters")
    op.drop_table("job_runs")
    op.execute(
        """
        DELETE FROM outbox later USING outbox first
        WHERE later.verdict_id = first.verdict_id AND later.callback = first.callback AND later.id > first.id
        """
    )
    op.drop_constraint("uq_outbox_verdict_id_announcement_id", "outbox")
    op.create_unique_constraint("uq_outbox_verdict_id_callback", "outbox", ["verdict_id", "callback"])
    op.drop_column("outbox", "announcement_id")
    op.drop_table("deletions")
    op.drop_table("announcements")
    op.create_index(op.f("ix_uploads_event_id"), "uploads", ["event_id"], unique=False)
    for column in ("postponements", "deleted_at", "queued_at"):
        op.drop_column("uploads", column)
    op.execute('ALTER TABLE uploads ALTER COLUMN object_key TYPE text COLLATE "default"')


def _change_uploads() -> None:
    op.execute('ALTER TABLE uploads ALTER COLUMN object_key TYPE text COLLATE "C"')
    op.add_column(
        "uploads",
        sa.Column("queued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.add_column("uploads", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("uploads", sa.Column("postponements", sa.Integer(), server_default="0", nullable=False))
    op.drop_index(op.f("ix_uploads_event_id"), "uploads")  # events are looked up among the announcements


def _create_announcements() -> None:
    op.create_table(
        "announcements",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("upload_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("callback", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["uploads.id"], name=op.f("fk_announcements_upload_id_uploads"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcements")),
        sa.UniqueConstraint("upload_id", "event_id", name=op.f("uq_announcements_upload_id_event_id")),
    )
    op.execute(
        "INSERT INTO announcements (upload_id, event_id, callback, received_at) "
        "SELECT id, event_id, callback, received_at FROM uploads ORDER BY id"
    )
    op.create_index(op.f("ix_announcements_event_id"), "announcements", ["event_id"], unique=False)


def _create_deletions() -> None:
    op.create_table(
        "deletions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("object_key", sa.Text(collation="C"), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("sequencer", sa.Text(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
        sa.UniqueConstraint("bucket", "object_key", "event_id", name=op.f("uq_deletions_bucket_object_key_event_id")),
    )


def _answer_announcements() -> None:
    """One webhook per verdict and announcement; until now it was one per verdict and callback."""
    op.add_column("outbox", sa.Column("announcement_id", sa.BigInteger(), nullable=True))
    op.execute(
        """
        UPDATE outbox SET announcement_id = announcements.id
        FROM verdicts JOIN announcements ON announcements.upload_id = verdicts.upload_id
        WHERE verdicts.id = outbox.verdict_id
        """
    )
    op.alter_column("outbox", "announcement_id", nullable=False)
    op.create_foreign_key(
        op.f("fk_outbox_announcement_id_announcements"), "outbox", "announcements", ["announcement_id"], ["id"]
    )
    op.drop_constraint("uq_outbox_verdict_id_callback", "outbox")
    op.create_unique_constraint(
        op.f("uq_outbox_verdict_id_announcement_id"), "outbox", ["verdict_id", "announcement_id"]
    )


def _create_job_runs() -> None:
    op.create_table(
        "job_runs",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_runs")),
    )
