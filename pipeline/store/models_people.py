"""The tables of the people who work at the review desk."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.people import Role
from pipeline.store.base import Base, Id, one_of


class AccountRow(Base):
    """A person. Never deleted, only disabled: decisions and the audit log go on naming her."""

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("name"), UniqueConstraint("oidc_subject"), one_of("role", Role))

    id: Mapped[Id]
    name: Mapped[str]
    """Case-folded; what decisions and the audit log say."""
    role: Mapped[str]
    password_hash: Mapped[str | None]
    """argon2id; None for people who sign in elsewhere."""
    oidc_subject: Mapped[str | None]
    """`<issuer> <sub>`, the only pair that OpenID Connect promises to be stable."""
    failed_sign_ins: Mapped[int] = mapped_column(server_default="0")
    """In a row."""
    blocked_until: Mapped[datetime | None]
    """No password is looked at before."""
    signed_in_at: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SessionRow(Base):
    """A browser that somebody signed in with."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "account_id"), Index(None, "expires_at"))

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    """SHA-256 of the cookie: who reads this table can sign in as nobody."""
    account_id: Mapped[int] = mapped_column(ForeignKey(AccountRow.id, ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
