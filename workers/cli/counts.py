"""`lenswatch counts`: the thresholds page's counts, made anew."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from pipeline.settings import Settings
from workers.bootstrap import Dependencies
from workers.recount import recount

Since = Annotated[datetime, typer.Option(help="From the hour of this time on, UTC.")]
Until = Annotated[datetime | None, typer.Option(help="Up to the hour of this time, UTC [now].")]


def counts(since: Since, until: Until = None) -> None:
    """Count the verdicts of past hours by p-value again: after an upgrade, an erasure, or a long outage of beat."""
    end = until.replace(tzinfo=UTC) if until else datetime.now(UTC)
    with Dependencies(Settings()) as deps:
        written = recount(deps, since.replace(tzinfo=UTC), end)
    typer.echo(f"{written} rows counted")
