"""`lenswatch counts`: the thresholds page's counts, made anew."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from pipeline.settings import Settings
from workers.bootstrap import Dependencies
from workers.recount import recount_days

Since = Annotated[datetime, typer.Option(help="From this UTC day on.")]
Until = Annotated[datetime | None, typer.Option(help="Up to this time, UTC [now].")]


def counts(since: Since, until: Until = None) -> None:
    """Count the verdicts of past days by p-value again: after an upgrade, an erasure, or a long outage of beat."""
    end = until.replace(tzinfo=UTC) if until else datetime.now(UTC)
    with Dependencies(Settings()) as deps:
        written = recount_days(deps, since.replace(tzinfo=UTC), end)
    typer.echo(f"{written} rows counted")
