"""`lenswatch webhooks`: deliveries of verdicts in a terminal."""

from __future__ import annotations

import dataclasses
import getpass
import json
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from pipeline.settings import Settings
from pipeline.store import DeliveryState
from workers.bootstrap import Dependencies

app = typer.Typer(no_args_is_help=True, help="Show webhooks, and have them sent again.")

DeliveryId = Annotated[UUID, typer.Argument(help="The id that its receiver sees as Lenswatch-Delivery.")]
Actor = Annotated[str | None, typer.Option(help="Who decides this; it is written down [your user name].")]
Callback = Annotated[str | None, typer.Option(help="Only those to this endpoint, by its name.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]


@app.command("list")
def list_webhooks(
    state: Annotated[DeliveryState, typer.Option(help="What became of them.")] = DeliveryState.ABANDONED,
    callback: Callback = None,
    limit: Limit = 100,
) -> None:
    """Newest first."""
    table = Table("delivery", "callback", "event", "attempts", "since (UTC)", "next try (UTC)", "last error")
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        for webhook in transaction.outbox.find(state, callback=callback, limit=limit):
            table.add_row(
                str(webhook.delivery_id),
                webhook.callback,
                str(webhook.payload.get("event_id", "-")),
                str(webhook.attempts),
                f"{webhook.replayed_at or webhook.created_at:%Y-%m-%d %H:%M}",
                f"{webhook.not_before:%Y-%m-%d %H:%M}" if webhook.state is DeliveryState.WAITING else "-",
                webhook.last_error or "-",
            )
    Console().print(table)


@app.command()
def show(delivery: DeliveryId) -> None:
    """Everything about one, as JSON."""
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        found = transaction.outbox.get(delivery)
    typer.echo(json.dumps(dataclasses.asdict(found), indent=2, default=str))


@app.command()
def replay(
    deliveries: Annotated[
        list[UUID] | None, typer.Argument(help="Ids; without any, all that --callback names.")
    ] = None,
    callback: Annotated[str | None, typer.Option(help="All abandoned ones to this endpoint, by its name.")] = None,
    limit: Limit = 1000,
    actor: Actor = None,
) -> None:
    """Send again, under the same ids: some by their ids, or the abandoned ones of an endpoint that is back."""
    if bool(deliveries) == bool(callback):
        raise typer.BadParameter("give either ids or --callback")
    who = actor or getpass.getuser()
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        for delivery in deliveries or ():
            transaction.outbox.replay(delivery, actor=who)
        count = len(deliveries or ())
        if callback:
            count = transaction.outbox.replay_abandoned(callback, limit=limit, actor=who)
    typer.echo(f"{count} will be sent again")
