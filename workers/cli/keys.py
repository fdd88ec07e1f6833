"""`lenswatch keys`: what opens the HTTP doors."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from pipeline.people import KeyRole
from pipeline.settings import Name
from workers.keys import key_setting, new_key

app = typer.Typer(no_args_is_help=True, help="Make keys for callers of the HTTP service.")


@app.callback()
def _group() -> None:
    """Typer makes a lone command the whole program unless it has a group."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Who will use it; logs and metrics show this name.")],
    role: Annotated[KeyRole, typer.Option(help="What it opens; each role also what those before it open.")] = (
        KeyRole.SENDER
    ),
    signing: Annotated[bool, typer.Option("--signing", help="A secret to sign events with instead.")] = False,
) -> None:
    """Print a random key, once, and the setting that lets it in. Nothing is stored."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise typer.BadParameter("a name is up to 64 of a-z, 0-9, _ and -") from error
    key = new_key()
    variable = "LENSWATCH_WEB__DOOR_SECRETS" if signing else "LENSWATCH_WEB__API_KEYS"
    setting = json.dumps({name: key if signing else key_setting(key, role)})
    typer.echo(f"{'secret' if signing else 'key'}, for {name} alone:\n  {key}")
    typer.echo(f"setting of the HTTP service (add to what is there):\n  {variable}='{setting}'")
