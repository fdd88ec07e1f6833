"""`lenswatch review`: the review queue in a terminal."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.records import Label, Purpose
from pipeline.review.decisions import Statement, decide_unseen
from pipeline.review.items import Order, Reason, Which
from pipeline.settings import Settings
from workers.bootstrap import Dependencies

app = typer.Typer(no_args_is_help=True, help="List and decide what waits for a person; keep the golden items.")
golden = typer.Typer(no_args_is_help=True, help="Items whose answer is known, mixed in to measure reviewers.")
app.add_typer(golden, name="golden")

Actor = Annotated[str | None, typer.Option(help="Who does this; it is written down [your user name].")]


@app.command("list")
def list_items(
    surface: Annotated[str | None, typer.Option(help="Of this surface only.")] = None,
    purpose: Annotated[Purpose | None, typer.Option(help="Of this purpose only; otherwise all but appeals.")] = None,
    order: Annotated[Order, typer.Option(help="What comes first.")] = Order.OLDEST,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """Open items."""
    table = Table("item", "object", "surface", "purpose", "verdict", "p-value", "claimed make", "waiting since (UTC)")
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        for each in transaction.queue.page(Which(surface=surface, purpose=purpose), order, limit=limit):
            item = each.item
            risk = "-" if item.p_value is None else f"{item.p_value:.3f}"
            cells = (each.key, item.surface, item.purpose, item.kind, risk, item.camera_make or "-")
            table.add_row(str(item.id), *cells, f"{item.created_at:%Y-%m-%d %H:%M}")
    Console().print(table)


@app.command()
def decide(
    item: Annotated[int, typer.Argument(help="Number of the item.")],
    label: Annotated[Label, typer.Argument(help="What it is.")],
    reviewer: Annotated[str, typer.Option(help="Who says so; it is kept in the audit log.")],
    reason: Annotated[Reason | None, typer.Option(help="Why, from the list.")] = None,
    note: Annotated[str, typer.Option(help="Why, in words.")] = "",
) -> None:
    """Say what an item is, where nobody else holds it."""
    if not reviewer.strip():
        raise typer.BadParameter("a decision needs a reviewer", param_hint="--reviewer")
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        given = decide_unseen(transaction, item, reviewer, Statement(label, reason, note), deps.settings)
    typer.echo(f"decision {given.id}: item {item} is {label.value}")


@golden.command()
def add(
    upload: Annotated[int, typer.Argument(help="Number of the upload.")],
    label: Annotated[Label, typer.Argument(help="What it is known to be.")],
    actor: Actor = None,
) -> None:
    """Mix an upload in. Reviewers cannot tell it from others."""
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        item = transaction.golden.add(upload, label, actor=actor or getpass.getuser())
    typer.echo(f"item {item}: upload {upload} is golden")


@golden.command("list")
def list_golden() -> None:
    """Those that are shown, and how reviewers answered."""
    table = Table("item", "upload", "object", "is", "answers", "right")
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        for each in transaction.golden.list_all():
            numbers = (str(each.answers), str(each.right))
            table.add_row(str(each.item_id), str(each.upload_id), each.key, each.label, *numbers)
    Console().print(table)


@golden.command()
def remove(item: Annotated[int, typer.Argument(help="Number of the item.")], actor: Actor = None) -> None:
    """Show it no more; the answers that were given stay."""
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        transaction.golden.remove(item, actor=actor or getpass.getuser())
    typer.echo(f"item {item} is golden no more")
