"""`lenswatch dead`: dead letters in a terminal."""

from __future__ import annotations

import dataclasses
import getpass
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.settings import Settings
from workers.bootstrap import Dependencies

app = typer.Typer(no_args_is_help=True, help="Show, replay or drop work that was given up on.")

Letter = Annotated[int, typer.Argument(help="Number of the dead letter.")]
Actor = Annotated[str | None, typer.Option(help="Who decides this; it is written down [your user name].")]


@app.command("list")
def list_letters(limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100) -> None:
    """Open ones, oldest first."""
    table = Table("letter", "upload", "stage", "reason", "attempts", "since (UTC)", "detail")
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        for letter in transaction.dead_letters.waiting(limit):
            since = f"{letter.created_at:%Y-%m-%d %H:%M}"
            upload = str(letter.upload_id or "-")
            table.add_row(
                str(letter.id), upload, letter.stage, letter.reason, str(letter.attempts), since, letter.detail
            )
    Console().print(table)


@app.command()
def show(letter: Letter) -> None:
    """Everything about one, as JSON."""
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        found = transaction.dead_letters.get(letter)
    typer.echo(json.dumps(dataclasses.asdict(found), indent=2, default=str))


@app.command()
def replay(letter: Letter, actor: Actor = None) -> None:
    """Queue its upload again, with all attempts."""
    with Dependencies(Settings()) as deps:
        with deps.stores.transaction() as transaction:
            upload = transaction.dead_letters.replay(letter, actor=actor or getpass.getuser())
        deps.send_moderation(upload)
    typer.echo(f"upload {upload.id} is queued")


@app.command()
def drop(letter: Letter, actor: Actor = None) -> None:
    """Close it for good; the row stays, with who did it."""
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        transaction.dead_letters.drop(letter, actor=actor or getpass.getuser())
