"""`python -m tests.chaos faults`: break everything on purpose, and count (`make chaos`)."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.chaos.cluster import running
from tests.chaos.faults import FAULTS
from tests.chaos.run import Row, run, warm_up
from workers.model_card.markdown import table as markdown_table

app = typer.Typer(no_args_is_help=True, help="Break everything on purpose, and count.")

COLUMNS = (
    "acknow-\nledged",
    "verdicts",
    "dead\nletters",
    "lost",
    "doubled",
    "over-\ntaken",
    "by recon-\nciliation",
    "refused,\ntried again",
    "seconds to\nrecover",
    "connections\nPostgres, Redis",
    "orphans",
    "kept",
)
"""Of the table, after the fault's name."""

SOAK = "soak: all of them, one after the other, in one load"


@app.callback()
def group() -> None:
    """Commands, not options."""


@app.command()
def faults(
    count: Annotated[int, typer.Option(help="Distinct uploads under each fault.")] = 500,
    rate: Annotated[float, typer.Option(help="Events per second.")] = 40,
    seed: Annotated[int, typer.Option(help="Of load and order.")] = 0,
    only: Annotated[str, typer.Option(help="Faults whose name contains this; `soak` is one.")] = "",
    soak: Annotated[bool, typer.Option(help="All of them in one load, at the end.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows here too.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table here, as in docs/chaos.md.")] = None,
    logs: Annotated[Path | None, typer.Option(help="Keep the processes' logs here.")] = None,
) -> None:
    """Each fault in the middle of a load of its own, then all in one. Exit code 1: a promise was broken."""
    console = Console(width=None if sys.stdout.isatty() else 170)
    chosen = [name for name in FAULTS if only in name]
    rows: list[Row] = []
    with console.status("Starting") as status, running(keep=logs) as cluster:
        warm_up(cluster)
        for name in chosen:
            status.update(name)
            rows.append(run(cluster, name, count=count, rate=rate, seed=seed))
            console.print(_line(rows[-1]))
            _save(rows, json_file)
        if soak and only in SOAK:
            order = random.Random(seed).sample(list(FAULTS), len(FAULTS))
            status.update(SOAK)
            rows.append(run(cluster, SOAK, count=4 * count, rate=rate, seed=seed, faults=order))
            _save(rows, json_file)
    title = f"{count} uploads, 10 % of events repeated and 10 % overtaken, at {rate:g}/s; seed {seed}"
    console.print(_table(rows, title))
    if markdown:
        headers = ["fault", *(column.replace("-\n", "").replace("\n", " ") for column in COLUMNS)]
        markdown.write_text(markdown_table(headers, map(_cells, rows)) + "\n")
    raise typer.Exit(0 if all(row.kept for row in rows) else 1)


@app.command()
def soak(
    count: Annotated[int, typer.Option(help="Distinct uploads.")] = 10_000,
    rate: Annotated[float, typer.Option(help="Events per second.")] = 40,
    seed: int = 0,
    patience: Annotated[float, typer.Option(help="Seconds for all of it.")] = 3600,
) -> None:
    """Memory of consumer, worker and web after a fifth of the events and after all. Exit code 1: over 10 % more."""
    from tests.chaos.soak import soak as measure

    with running() as cluster:
        warm_up(cluster)
        grown, left = measure(cluster, count=count, rate=rate, seed=seed, patience=patience)
    table = Table(
        "process", "MiB at 20 %", "MiB at 100 %", "growth", title=f"{count} uploads; {left} without an answer"
    )
    for row in grown:
        table.add_row(row.process, f"{row.early:.1f}", f"{row.late:.1f}", f"{row.late / row.early - 1:+.1%}")
    Console().print(table)
    raise typer.Exit(0 if all(row.kept for row in grown) and not left else 1)


@app.command()
def lanes(
    count: Annotated[int, typer.Option(help="Live uploads, each time.")] = 300,
    rate: Annotated[float, typer.Option(help="Of them, per second.")] = 5,
    backfill: Annotated[int, typer.Option(help="Uploads on the backfill lane beside them.")] = 5_000,
    seed: int = 0,
) -> None:
    """The live lane's latency, alone and beside a backfill."""
    from tests.chaos.lanes import measure, start_backfill

    with running() as cluster:
        warm_up(cluster)
        alone = measure(cluster, "alone", count=count, rate=rate, seed=seed)
        start_backfill(cluster, backfill, seed)
        beside = measure(cluster, "beside-a-backfill", count=count, rate=rate, seed=seed)
    table = Table(
        "live lane", "uploads", "p50 ms", "p95 ms", "backfilled meanwhile", title="From the ledger to the verdict"
    )
    for row in (alone, beside):
        table.add_row(row.name, str(row.uploads), f"{1000 * row.p50:.0f}", f"{1000 * row.p95:.0f}", str(row.backfilled))
    Console().print(table)


def _line(row: Row) -> str:
    said = row.skipped or ("never recovered" if row.recovery is None else f"recovered in {row.recovery:.1f} s")
    return f"{'ok' if row.kept else 'BROKEN'}: {row.fault}: {said}"


def _table(rows: list[Row], title: str) -> Table:
    table = Table(title=title, header_style="bold")
    table.add_column("fault", max_width=48)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    if row.skipped:
        return [row.fault, f"not possible here: {row.skipped}"]
    found = row.outcome
    recovery = "never" if row.recovery is None else f"{row.recovery:.1f}"
    lost, doubled = len(found.lost) + found.unfinished, len(found.doubled)
    numbers = (row.acknowledged, found.verdicts, found.dead_letters, lost, doubled, len(row.overtaken))
    numbers += (found.unannounced, row.refused)
    connections = ", ".join(f"{more:+}" for more in row.connections)
    return [row.fault, *map(str, numbers), recovery, connections, str(len(row.orphans)), "yes" if row.kept else "NO"]


def _save(rows: list[Row], file: Path | None) -> None:
    if file:
        file.write_text(json.dumps([asdict(row) | {"kept": row.kept} for row in rows], indent=1))


if __name__ == "__main__":
    app()
