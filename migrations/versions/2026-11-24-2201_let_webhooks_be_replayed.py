"""Let webhooks be replayed.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-24 22:01
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
