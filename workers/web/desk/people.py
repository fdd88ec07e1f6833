"""The admin's page about people: who may sign in, and as what."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline.passwords import hash_password, new_password
from pipeline.people import LONGEST_NAME, Role, account_name
from workers.bootstrap import Dependencies
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

PAGE = 100
"""People."""

Admin = Annotated[Person, Depends(require(Role.ADMIN))]
router = APIRouter(prefix="/people", include_in_schema=False)


@router.get("", response_class=HTMLResponse)
def people(
    request: Request, deps: Deps, person: Admin, after: Annotated[str, Query(max_length=LONGEST_NAME)] = ""
) -> HTMLResponse:
    return _draw(request, deps, person, after=after)


@router.post("")
def add(
    request: Request,
    deps: Deps,
    person: Admin,
    name: Annotated[str, Form(max_length=LONGEST_NAME)],
    role: Annotated[Role, Form()],
) -> Response:
    try:
        account_name(name)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    password = new_password()
    hashed = hash_password(password)
    with deps.stores.transaction() as transaction:
        account = transaction.accounts.add(name, role, created_by=person.name, password_hash=hashed)
    return _draw(request, deps, person, fresh=(account.name, password))


@router.post("/{account_id}/password")
def renew_password(request: Request, account_id: int, deps: Deps, person: Admin) -> Response:
    password = new_password()
    hashed = hash_password(password)
    with deps.stores.transaction() as transaction:
        transaction.accounts.set_password(account_id, hashed, by=person.name)
        account = transaction.accounts.get(account_id)
    return _draw(request, deps, person, fresh=(account.name, password))


@router.post("/{account_id}/role")
def set_role(account_id: int, deps: Deps, person: Admin, role: Annotated[Role, Form()]) -> Response:
    with deps.stores.transaction() as transaction:
        transaction.accounts.set_role(account_id, role, by=person.name)
    return _back()


@router.post("/{account_id}/disable")
def disable(account_id: int, deps: Deps, person: Admin) -> Response:
    with deps.stores.transaction() as transaction:
        transaction.accounts.disable(account_id, by=person.name)
    return _back()


@router.post("/{account_id}/enable")
def enable(account_id: int, deps: Deps, person: Admin) -> Response:
    with deps.stores.transaction() as transaction:
        transaction.accounts.enable(account_id, by=person.name)
    return _back()


@router.post("/{account_id}/sign-out")
def sign_out(account_id: int, deps: Deps, person: Admin) -> Response:
    with deps.stores.transaction() as transaction:
        transaction.accounts.sign_out_everywhere(account_id, by=person.name)
    return _back()


def _back() -> Response:
    return RedirectResponse("/people", HTTPStatus.SEE_OTHER)


def _draw(
    request: Request, deps: Dependencies, person: Person, *, after: str = "", fresh: tuple[str, str] | None = None
) -> HTMLResponse:
    """`fresh`: name and password to be shown this once. It is in the answer to the form itself, not behind a redirect:
    there it would have to be kept somewhere meanwhile."""
    with deps.stores.transaction() as transaction:
        accounts = transaction.accounts.all(after=after, limit=PAGE + 1)
    shown = accounts[:PAGE]
    more = shown[-1].name if len(accounts) > PAGE else None
    return render(
        request, "people.html", person, accounts=shown, more=more, fresh=fresh, roles=list(Role), now=deps.clock.now()
    )
