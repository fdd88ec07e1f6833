"""Let webhooks be replayed.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-24 22:01
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage
    op.add_column("outbox", sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_outbox_abandoned", "outbox", ["callback", "id"], postgresql_where=sa.text("abandoned_at IS NOT NULL")
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_index("ix_outbox_abandoned", table_name="outbox")
    op.drop_column("outbox", "replayed_at")
