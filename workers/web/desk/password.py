"""A person's own password."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline.passwords import LONGEST, SHORTEST, WeakPassword, hash_password
from pipeline.people import Role
from pipeline.sign_in import sign_in as check
from workers.web.desk.session import Person, require, start_session
from workers.web.desk.shell import render
from workers.web.state import Deps

WRONG = "This is not your present password, or it was tried too often: then wait up to 15 minutes."

Somebody = Annotated[Person, Depends(require(Role.VIEWER))]
Password = Annotated[str, Form(max_length=LONGEST)]
log = structlog.get_logger(__name__)
router = APIRouter(prefix="/password", include_in_schema=False)


@router.get("", response_class=HTMLResponse)
def password_page(request: Request, person: Somebody) -> HTMLResponse:
    return _draw(request, person)


@router.post("")
def change(request: Request, deps: Deps, person: Somebody, present: Password, chosen: Password) -> Response:
    """Asks for the present one: who finds a browser signed in must not be able to keep the account."""
    if check(deps.stores.transaction, person.name, present) is None:
        return _draw(request, person, wrong=WRONG)
    try:
        hashed = hash_password(chosen)
    except WeakPassword as error:
        return _draw(request, person, wrong=f"Not taken: {error}.")
    with deps.stores.transaction() as transaction:
        transaction.accounts.set_password(person.account_id, hashed, by=person.name)
    answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    start_session(request, answer, person.account_id)  # all others have ended
    log.info("password_changed", person=person.name)
    return answer


def _draw(request: Request, person: Person, *, wrong: str = "") -> HTMLResponse:
    status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
    with request.app.state.dependencies.stores.transaction() as transaction:
        account = transaction.accounts.get(person.account_id)
    context = {"wrong": wrong, "has_password": account.has_password, "shortest": SHORTEST}
    return render(request, "password.html", person, status=status, **context)
