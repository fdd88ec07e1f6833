"""Who works at the review desk, and what each may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """Each may do what those before it may."""

    VIEWER = "viewer"
    """Sees verdicts and their evidence."""
    REVIEWER = "reviewer"
    """Decides items of the queue."""
    LEAD = "lead"
    """Ends disagreements, sets thresholds, sees quality, drift and the audit log, replays dead letters."""
    ADMIN = "admin"
    """Moves model aliases, erases, and says who has which role."""

    def includes(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


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
