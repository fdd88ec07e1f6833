"""`lenswatch reconcile`: buckets against the ledger."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from pipeline.reconcile import Difference
from pipeline.records import Lane
from pipeline.settings import Settings
from workers.bootstrap import Dependencies
from workers.cli.submit import PROGRESS
from workers.reconcile import reconcile_bucket


def reconcile(
    bucket: Annotated[list[str] | None, typer.Option(help="May be repeated [all configured ones].")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Announce what is missing, and close what has vanished.")
    ] = False,
    surface: Annotated[str, typer.Option(help="Where the missing ones were uploaded.")] = "default",
    lane: Annotated[Lane, typer.Option(help="Queue that the missing ones wait in.")] = Lane.BACKFILL,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: the differences, then counts.")
    ] = False,
) -> None:
    """Find objects that no upload stands for (missing), and uploads whose object is gone (vanished).

    The last quarter of an hour is left out. Ends with status 1 where something differs and was not repaired.
    """
    differs = False
    with Dependencies(Settings()) as deps, Progress(*PROGRESS, console=Console(stderr=True)) as progress:
        for one in bucket or deps.settings.s3.buckets:
            task = progress.add_task(one, total=None, done="keys compared")

            def show(difference: Difference | None, task: TaskID = task) -> None:
                progress.advance(task)
                if difference is not None:
                    typer.echo(_line(difference, as_json))

            counts = reconcile_bucket(deps, one, repair=repair, surface=surface, lane=lane, on_key=show)
            differs |= counts.total() > counts["agree"]
            said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            typer.echo(json.dumps({"bucket": one, "repaired": repair, **counts}) if as_json else f"{one}: {said}")
    if differs and not repair:
        raise typer.Exit(1)


def _line(difference: Difference, as_json: bool) -> str:
    if as_json:
        return json.dumps({"finding": difference.finding, "bucket": difference.bucket, "key": difference.key})
    return f"{difference.finding}  s3://{difference.bucket}/{difference.key}"
