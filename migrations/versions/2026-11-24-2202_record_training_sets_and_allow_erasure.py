"""Record training sets and allow erasure.

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-24 22:02
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
