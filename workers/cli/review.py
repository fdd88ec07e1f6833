"""`lenswatch review`: the review queue in a terminal."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.records import Label
from pipeline.review import decide as decide_item
from pipeline.settings import Settings
from workers.bootstrap import Dependencies

app = typer.Typer(no_args_is_help=True, help="List and decide what the model was unsure about.")


@app.command("list")
def list_items(
    surface: Annotated[str | None, typer.Option(help="Of this surface only.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """Open items, oldest first."""
    table = Table("item", "object", "surface", "percentile", "AI probability", "claimed camera", "waiting since (UTC)")
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        for item in transaction.reviews.waiting(surface=surface, limit=limit):
            verdict = item.verdict
            cells = ["-"] * 5
            if verdict is not None:
                camera = " ".join(filter(None, (verdict.camera_make, verdict.camera_model))) or "-"
                numbers = (_number(verdict.percentile, ".1f"), _number(verdict.ai_probability, ".3f"))
                cells = [f"{verdict.bucket}/{verdict.key}", verdict.surface, *numbers, camera]
            table.add_row(str(item.id), *cells, f"{item.created_at:%Y-%m-%d %H:%M}")
    Console().print(table)


@app.command()
def decide(
    item: Annotated[int, typer.Argument(help="Number of the item.")],
    label: Annotated[Label, typer.Argument(help="What it is.")],
    reviewer: Annotated[str, typer.Option(help="Who says so; it is kept in the audit log.")],
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Say what an item is."""
    if not reviewer.strip():
        raise typer.BadParameter("a decision needs a reviewer", param_hint="--reviewer")
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        decision = decide_item(transaction.reviews, item, reviewer=reviewer, label=label, note=note)
    typer.echo(f"decision {decision}: item {item} is {label.value}")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
