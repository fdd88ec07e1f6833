"""Traces are means over windows of patches: what was kept before is of all at once, and is replaced when scored again.

Revision ID: 0010
Revises: 0009
Create Date: 2026-11-29 03:00
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import Vector

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage
    op.add_column("embeddings", sa.Column("patch_count", sa.SmallInteger(), nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.drop_column("embeddings", "patch_count")
    op.drop_column("embeddings", "self_description")  # the code of before would take means over windows for its own
    op.add_column("embeddings", sa.Column("self_description", Vector(288), nullable=True))
