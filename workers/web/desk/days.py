"""Days in the addresses of pages, as browsers' date fields write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time


def day(said: str) -> datetime | None:
    """Beginning of the UTC day `2026-11-25`; what is no day means any."""
    try:
        return datetime.combine(date.fromisoformat(said), time(), UTC) if said else None
    except ValueError:
        return None
