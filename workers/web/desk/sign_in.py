"""Signing in with a password, and out."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline.passwords import LONGEST
from pipeline.people import LONGEST_NAME, Role
from pipeline.sign_in import sign_in as check
from workers.web.desk.session import Person, end_session, is_from_here, person_of, require, start_session
from workers.web.desk.shell import render
from workers.web.state import Deps

WRONG = "This name and password do not belong together, or were tried too often: then wait up to 15 minutes."
"""The same whatever is wrong, so that it tells nobody who has an account."""

log = structlog.get_logger(__name__)
router = APIRouter(include_in_schema=False)

_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x1f\x7f]*")


def local_path(said: str) -> str:
    """`said` if it leads to a page of this service, whatever a browser makes of it; else the overview."""
    return said if _LOCAL.fullmatch(said) else "/"


@router.get("/sign-in", response_class=HTMLResponse)
def sign_in_page(request: Request, back: Annotated[str, Query(alias="next")] = "/") -> Response:
    if person_of(request):
        return RedirectResponse(local_path(back), HTTPStatus.SEE_OTHER)
    return draw(request, back)


@router.post("/sign-in")
def sign_in(
    request: Request,
    deps: Deps,
    name: Annotated[str, Form(max_length=LONGEST_NAME)],
    password: Annotated[str, Form(max_length=LONGEST)],
    back: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    if not deps.settings.sign_in.local_accounts:
        raise HTTPException(404, "Nobody signs in with a password here.")
    if not is_from_here(request):  # or another site could sign her in as somebody else
        raise HTTPException(403, "This form is not from here: load the page again.")
    account = check(deps.stores.transaction, name, password)
    if account is None:
        return draw(request, back, wrong=WRONG, name=name, status=HTTPStatus.UNAUTHORIZED)
    answer = RedirectResponse(local_path(back), HTTPStatus.SEE_OTHER)
    start_session(request, answer, account.id)
    log.info("signed_in", person=account.name, how="password")
    return answer


@router.post("/sign-out")
def sign_out(request: Request, person: Annotated[Person, Depends(require(Role.VIEWER))]) -> Response:
    answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    end_session(request, answer)
    answer.headers["Clear-Site-Data"] = '"cache"'  # pictures that the browser keeps for its next user
    log.info("signed_out", person=person.name)
    return answer


def draw(
    request: Request, back: str, *, wrong: str = "", name: str = "", status: HTTPStatus = HTTPStatus.OK
) -> HTMLResponse:
    """The sign-in page. `wrong`: why the last try did not succeed."""
    settings = request.app.state.settings.sign_in
    provider = settings.oidc_issuer.host if settings.oidc_issuer else None
    context = {"back": local_path(back), "wrong": wrong, "name": name, "provider": provider}
    return render(request, "sign_in.html", None, status=status, local=settings.local_accounts, **context)
