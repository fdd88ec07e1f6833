"""Keep self-descriptions beside embeddings, for a refit of both views.

Revision ID: 0008
Revises: 0007
Create Date: 2026-11-25 14:00
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import Vector

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage
    op.add_column("embeddings", sa.Column("self_description", Vector(144), nullable=True))


def downgrade() -> None:
    op.drop_column("embeddings", "self_description")
