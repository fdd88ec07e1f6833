"""`python -m tests.big load`: a database with five million scores; `measure`: the pages on it (`make big`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from tests.big.place import servers
from workers.bootstrap import Dependencies
from workers.model_card.markdown import table as markdown_table

app = typer.Typer(no_args_is_help=True, help="The review desk on a big database.")

FOLDER = Path(".lenswatch/big")

COLUMNS = ("page", "visits", "p50 ms", "p95 ms", "kB")
BEGIN, END = "<!-- measured by make big -->", "<!-- end -->"
"""Around the table in a document."""

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


@app.command()
def measure(
    folder: Folder = FOLDER,
    visits: Annotated[int, typer.Option(min=10, help="Of each page.")] = 100,
    markdown: Annotated[Path | None, typer.Option(help="Put the table here, between its two marks.")] = None,
) -> None:
    """Visit each page, and decide items, over HTTP; print how long that took."""
    from tests.big.measure import Row
    from tests.big.measure import measure as run

    rows: list[Row] = []
    with servers(folder) as settings, Dependencies(settings) as deps, Console().status("Measuring") as status:
        for row in run(folder, deps, visits):
            status.update(row.page)
            rows.append(row)
    table = Table(*COLUMNS[:1], *(Column(name, justify="right") for name in COLUMNS[1:]), header_style="bold")
    for row in rows:
        table.add_row(*row.cells())
    Console().print(table)
    if markdown:
        put_table(markdown, markdown_table(COLUMNS, [row.cells() for row in rows]))


def put_table(file: Path, table: str) -> None:
    before, rest = file.read_text().split(BEGIN)
    _, after = rest.split(END)
    file.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}")


if __name__ == "__main__":
    app()
