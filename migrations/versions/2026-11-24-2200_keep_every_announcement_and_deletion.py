"""Keep every announcement and deletion.

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-24 22:00
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
