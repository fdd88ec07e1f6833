"""Verdicts counted anew, hour by hour: by beat for the last two, by command for any. Days that are over are merged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from workers.bootstrap import Dependencies

HOUR, DAY = timedelta(hours=1), timedelta(days=1)

SETTLED = 2
"""Days after which nobody counts an hour of a day alone any more."""

LOOKED_BACK = 30
"""Days that beat may have been away without leaving hours unmerged."""


def recount(deps: Dependencies, since: datetime, until: datetime) -> int:
    """Count every hour from that of `since` to that of `until`, each in a transaction of its own; returns the rows."""
    hour, written = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0), 0
    while hour <= until:
        with deps.stores.transaction() as transaction:
            written += transaction.score_counts.rebuild(hour, hour + HOUR)
        hour += HOUR
    return written


def recount_days(deps: Dependencies, since: datetime, until: datetime) -> int:
    """Like `recount`, but whole UTC days, which are merged where they are over."""
    day, written = midnight(since), 0
    while day <= until:
        written += recount(deps, day, min(day + DAY - HOUR, until))
        if day <= midnight(deps.clock.now()) - SETTLED * DAY:
            with deps.stores.transaction() as transaction:
                transaction.score_counts.merge(day)
        day += DAY
    return written


def merge_settled(deps: Dependencies) -> None:
    """Merge the days that are over, each in a transaction of its own."""
    today = midnight(deps.clock.now())
    for back in range(SETTLED, SETTLED + LOOKED_BACK):
        with deps.stores.transaction() as transaction:
            transaction.score_counts.merge(today - back * DAY)


def midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
