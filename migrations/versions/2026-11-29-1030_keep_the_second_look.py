"""A score keeps what each look says: at full size, and at half of it.

Revision ID: 0011
Revises: 0010
Create Date: 2026-11-29 10:30
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = ("full_size_p_value", "half_size_p_value")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage
    for name in COLUMNS:
        op.add_column("scores", sa.Column(name, sa.Float(), nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    for name in COLUMNS:
        op.drop_column("scores", name)
