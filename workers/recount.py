"""Verdicts counted anew, hour by hour: by beat for the last two, by command for any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from workers.bootstrap import Dependencies

HOUR = timedelta(hours=1)


def recount(deps: Dependencies, since: datetime, until: datetime) -> int:
    """Count every hour from that of `since` to that of `until`, each in a transaction of its own; returns the rows."""
    hour, written = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0), 0
    while hour <= until:
        with deps.stores.transaction() as transaction:
            written += transaction.score_counts.rebuild(hour, hour + HOUR)
        hour += HOUR
    return written
