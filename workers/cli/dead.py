"""`lenswatch dead`: dead letters in a terminal."""

from __future__ import annotations

import dataclasses
import getpass
import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.settings import Settings
from pipeline.store import LetterFilter
from workers import replay as again
from workers.bootstrap import Dependencies

app = typer.Typer(no_args_is_help=True, help="Show, replay or drop work that was given up on.")

Letter = Annotated[int, typer.Argument(help="Number of the dead letter.")]
Actor = Annotated[str | None, typer.Option(help="Who decides this; it is written down [your user name].")]
Reason = Annotated[str | None, typer.Option(help="Only those of this reason.")]
Stage = Annotated[str | None, typer.Option(help="Only those of this stage: event, moderate.")]
Since = Annotated[datetime | None, typer.Option(help="Only those given up on at or after this time, UTC.")]


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    after: Annotated[int, typer.Option(min=0, help="Number of the last letter of the page before.")] = 0,
    reason: Reason = None,
    stage: Stage = None,
    since: Since = None,
) -> None:
    """Open ones, oldest first."""
    table = Table("letter", "upload", "stage", "reason", "attempts", "since (UTC)", "detail")
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        for letter in transaction.dead_letters.waiting(limit, after=after, which=_which(reason, stage, since)):
            buried = f"{letter.created_at:%Y-%m-%d %H:%M}"
            upload = str(letter.upload_id or "-")
            table.add_row(
                str(letter.id), upload, letter.stage, letter.reason, str(letter.attempts), buried, letter.detail
            )
    Console().print(table)


@app.command()
def show(letter: Letter) -> None:
    """Everything about one, as JSON."""
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        found = transaction.dead_letters.get(letter)
    typer.echo(json.dumps(dataclasses.asdict(found), indent=2, default=str))


@app.command()
def replay(
    letter: Annotated[int | None, typer.Argument(help="Number of the dead letter.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every open one that the filters leave, in batches.")] = False,
    reason: Reason = None,
    stage: Stage = None,
    since: Since = None,
    actor: Actor = None,
) -> None:
    """Queue its upload again, with all attempts; an event that never became one goes back on its stream."""
    which, actor = _which(reason, stage, since), actor or getpass.getuser()
    if (letter is None) is not every or (letter is not None and which != LetterFilter()):
        raise typer.BadParameter("give the number of a LETTER, or --all, perhaps with filters")
    with Dependencies(Settings()) as deps:
        if letter is None:
            batches = again.replay_all(deps, which, actor=actor)
        else:
            batches = iter([again.replay(deps, [letter], actor=actor)])
        for batch in batches:
            for done in batch:
                what = f"upload {done.upload_id} is queued" if done.upload_id else f"is entry {done.entry_id} again"
                typer.echo(f"letter {done.letter_id}: {what}")


@app.command()
def drop(letter: Letter, actor: Actor = None) -> None:
    """Close it for good; the row stays, with who did it."""
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        transaction.dead_letters.drop(letter, actor=actor or getpass.getuser())


def _which(reason: str | None, stage: str | None, since: datetime | None) -> LetterFilter:
    return LetterFilter(reason, stage, since.replace(tzinfo=UTC) if since else None)
