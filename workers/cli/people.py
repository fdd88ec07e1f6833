"""`lenswatch people`: who may sign in to the review desk."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.passwords import WeakPassword, hash_password, new_password
from pipeline.people import Role, account_name
from pipeline.settings import Settings
from pipeline.store.accounts import Accounts
from workers.bootstrap import Dependencies

app = typer.Typer(no_args_is_help=True, help="Say who may sign in to the review desk.")

Name = Annotated[str, typer.Argument(help="As decisions and the audit log name her.")]
Actor = Annotated[str | None, typer.Option(help="Who decides this; it is written down [your user name].")]
Ask = Annotated[bool, typer.Option("--ask", help="Ask for the password instead of making one.")]
PAGE = 500
"""People read at a time."""


@app.command("list")
def list_people() -> None:
    """By name, disabled ones too."""
    table = Table("name", "role", "signs in by", "last signed in (UTC)", "added (UTC)", "disabled (UTC)")
    with _accounts() as accounts:
        page = accounts.all(limit=PAGE)
        while page:
            for one in page:
                way = "OpenID" if one.oidc_subject else "password" if one.has_password else "-"
                moments = (_when(moment) for moment in (one.signed_in_at, one.created_at, one.disabled_at))
                table.add_row(one.name, one.role.value, way, *moments)
            page = accounts.all(after=page[-1].name, limit=PAGE)
    Console().print(table)


@app.command()
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="Each may do what those before it may.")],
    ask: Ask = False,
    actor: Actor = None,
) -> None:
    """Add an account, with a password that is printed once."""
    try:
        account_name(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    password, hashed = _password(ask)
    with _accounts() as accounts:
        account = accounts.add(name, role, created_by=_actor(actor), password_hash=hashed)
    typer.echo(f"{account.name} may sign in as {role.value}{_said(password, ask)}")


@app.command()
def password(name: Name, ask: Ask = False, actor: Actor = None) -> None:
    """Give somebody a new password, and sign her out everywhere."""
    chosen, hashed = _password(ask)
    with _accounts() as accounts:
        accounts.set_password(accounts.named(name).id, hashed, by=_actor(actor))
    typer.echo(f"{name} has a new password{_said(chosen, ask)}")


@app.command()
def role(name: Name, role: Annotated[Role, typer.Argument()], actor: Actor = None) -> None:
    """Give somebody another role; it holds at once."""
    with _accounts() as accounts:
        accounts.set_role(accounts.named(name).id, role, by=_actor(actor))
    typer.echo(f"{name} is {role.value} now")


@app.command()
def disable(name: Name, actor: Actor = None) -> None:
    """Sign somebody out, for good until she is enabled again."""
    with _accounts() as accounts:
        accounts.disable(accounts.named(name).id, by=_actor(actor))
    typer.echo(f"{name} may not sign in any more")


@app.command()
def enable(name: Name, actor: Actor = None) -> None:
    """Let somebody in again who was disabled."""
    with _accounts() as accounts:
        accounts.enable(accounts.named(name).id, by=_actor(actor))
    typer.echo(f"{name} may sign in again")


@contextmanager
def _accounts() -> Iterator[Accounts]:
    with Dependencies(Settings()) as deps, deps.stores.transaction() as transaction:
        yield transaction.accounts


def _password(ask: bool) -> tuple[str, str]:
    """The password and its hash. Never an argument: those stay in a shell's history, and every process sees them."""
    chosen = typer.prompt("Password", hide_input=True, confirmation_prompt=True) if ask else new_password()
    try:
        return chosen, hash_password(chosen)
    except WeakPassword as error:
        raise typer.BadParameter(str(error)) from error


def _said(password: str, ask: bool) -> str:
    return "" if ask else f"; the password, shown this once:\n  {password}"


def _actor(said: str | None) -> str:
    return said or getpass.getuser()


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
