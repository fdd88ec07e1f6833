"""`python -m tests.big load`: a database with five million scores; `measure`: the pages on it (`make big`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.big.place import servers
from workers.bootstrap import Dependencies

app = typer.Typer(no_args_is_help=True, help="The review desk on a big database.")

FOLDER = Path(".lenswatch/big")

Folder = Annotated[Path, typer.Option(help="Data of its own Postgres, Redis and S3.")]


@app.callback()
def group() -> None:
    """Commands, not options."""


@app.command()
def load(
    folder: Folder = FOLDER, scores: Annotated[int, typer.Option(min=10_000, help="How many.")] = 5_000_000
) -> None:
    """Make the database, in minutes; it then lies in FOLDER."""
    from tests.big.load import load as fill

    columns = (TextColumn("{task.description:16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with servers(folder) as settings, Dependencies(settings) as deps, Progress(*columns) as progress:
        tasks: dict[str, int] = {}

        def report(name: str, done: int, total: int) -> None:
            tasks[name] = tasks.get(name) or progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        fill(deps, scores, report)


if __name__ == "__main__":
    app()
