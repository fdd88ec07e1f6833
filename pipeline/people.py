"""Who works at the review desk, who calls the HTTP service, and what each may do."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

LONGEST_NAME = 100
"""Characters."""


class Rank(StrEnum):
    """Its members stand in order: each may do what those before it may."""

    def includes(self, needed: Self) -> bool:
        order = list(type(self))
        return order.index(self) >= order.index(needed)


class Role(Rank):
    """Of a person."""

    VIEWER = "viewer"
    """Sees verdicts and their evidence."""
    REVIEWER = "reviewer"
    """Decides items of the queue."""
    LEAD = "lead"
    """Ends disagreements, sets thresholds, sees quality, drift and the audit log, replays dead letters."""
    ADMIN = "admin"
    """Moves model aliases, erases, and says who has which role."""


class KeyRole(Rank):
    """Of an API key: people's roles, and below them what a platform's own services need."""

    SENDER = "sender"
    """Sends events, asks for verdicts, hands in appeals."""
    VIEWER = "viewer"
    REVIEWER = "reviewer"
    LEAD = "lead"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Account:
    """A person, as far as pages need to know her."""

    id: int
    name: str
    role: Role
    created_at: datetime
    signed_in_at: datetime | None = None
    disabled_at: datetime | None = None
    has_password: bool = False
    oidc_subject: str | None = None
    """Of somebody who signs in at an OpenID provider."""
    blocked_until: datetime | None = None
    """Too many wrong passwords."""


def account_name(said: str) -> str:
    """`said` as accounts are named: in lower case, without spaces around it. Raises ValueError."""
    name = unicodedata.normalize("NFKC", said).strip().casefold()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a name has 1 to {LONGEST_NAME} printable characters")
    return name
