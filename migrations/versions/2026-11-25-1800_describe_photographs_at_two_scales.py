"""Self-descriptions at two scales: those of one scale go, and come back when the photograph is scored again.

Revision ID: 0009
Revises: 0008
Create Date: 2026-11-25 18:00
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import Vector

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _begin_anew(length=288)


def downgrade() -> None:
    _begin_anew(length=144)


def _begin_anew(length: int) -> None:
    """A new column rewrites no row, where another type for the old one would rewrite all."""
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage
    op.drop_column("embeddings", "self_description")
    op.add_column("embeddings", sa.Column("self_description", Vector(length), nullable=True))
