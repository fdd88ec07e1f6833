"""Call graphics not applicable.

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-24 19:30
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")  # a queue of readers behind a waiting ALTER is an outage
    _allow("'too_small', 'flat', 'graphic'")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '4s'")
    op.execute("UPDATE media SET not_applicable = 'flat' WHERE not_applicable = 'graphic'")  # the nearest older reason
    _allow("'too_small', 'flat'")


def _allow(reasons: str) -> None:
    """Both changes in one transaction: no row goes unchecked. The table is read once while it is locked."""
    op.execute("ALTER TABLE media DROP CONSTRAINT ck_media_not_applicable")
    op.execute(f"ALTER TABLE media ADD CONSTRAINT ck_media_not_applicable CHECK (not_applicable IN ({reasons}))")
