"""Signing in at an OpenID Connect provider: there, and back."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, unquote

import structlog
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response

from workers.bootstrap import Dependencies
from workers.openid import Flow, Identity, NoRole, TokenRefused
from workers.web.desk.session import cookie_name, new_token, start_session
from workers.web.desk.sign_in import draw, local_path
from workers.web.state import Deps

PATIENCE = 600
"""s to sign in at the provider."""
TOO_OLD = "This sign-in took too long, or began in another window: begin again."
REFUSED = "The provider did not confirm who you are. Begin again; if that does not help, the reason is in the log."
NO_ROLE = "The provider knows you, but none of your groups may use this desk: ask an admin."
DISABLED = "Your account here is disabled: ask an admin."

log = structlog.get_logger(__name__)
router = APIRouter(include_in_schema=False)


@router.get("/sign-in/oidc")
def go(request: Request, deps: Deps, back: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Send the browser to the provider; a cookie of ten minutes holds what its return must fit."""
    _require_provider(deps)
    flow = Flow(new_token())
    answer = RedirectResponse(deps.openid.address(flow, _callback(request, deps)), HTTPStatus.SEE_OTHER)
    _set_cookie(answer, deps, f"{flow.token}.{quote(local_path(back), safe='')}", PATIENCE)
    return answer


@router.get("/sign-in/oidc/callback")
def come_back(
    request: Request,
    deps: Deps,
    code: Annotated[str, Query(max_length=4096)] = "",
    state: Annotated[str, Query(max_length=128)] = "",
    error: Annotated[str, Query(max_length=256)] = "",
) -> Response:
    _require_provider(deps)
    token, _, back = request.cookies.get(_cookie(deps), "").partition(".")
    flow, back = Flow(token), unquote(back)
    if not token or not secrets.compare_digest(flow.state.encode(), state.encode()):
        answer: Response = draw(request, back, wrong=TOO_OLD, status=HTTPStatus.BAD_REQUEST)
    elif error or not code:
        log.warning("oidc_refused", reason=error or "no code")
        answer = draw(request, back, wrong=REFUSED, status=HTTPStatus.UNAUTHORIZED)
    else:
        answer = _sign_in(request, deps, flow, code, back)
    _set_cookie(answer, deps, "", 0)
    return answer


def _sign_in(request: Request, deps: Dependencies, flow: Flow, code: str, back: str) -> Response:
    try:
        identity = deps.openid.identify(flow, code, _callback(request, deps))
    except TokenRefused as refused:
        log.warning("oidc_refused", reason=str(refused))
        return draw(request, back, wrong=REFUSED, status=HTTPStatus.UNAUTHORIZED)
    except NoRole as refused:
        log.warning("oidc_without_role", sub=str(refused))
        return draw(request, back, wrong=NO_ROLE, status=HTTPStatus.FORBIDDEN)
    return _admit(request, deps, identity, back)


def _admit(request: Request, deps: Dependencies, identity: Identity, back: str) -> Response:
    with deps.stores.transaction() as transaction:
        account = transaction.accounts.admit(identity.subject, identity.role, names=identity.names, by="oidc")
    if account is None:
        return draw(request, back, wrong=DISABLED, status=HTTPStatus.FORBIDDEN)
    answer = RedirectResponse(local_path(back), HTTPStatus.SEE_OTHER)
    start_session(request, answer, account.id)
    log.info("signed_in", person=account.name, how="oidc")
    return answer


def _require_provider(deps: Dependencies) -> None:
    if deps.settings.sign_in.oidc_issuer is None:
        raise HTTPException(404, "No OpenID provider is configured.")


def _callback(request: Request, deps: Dependencies) -> str:
    """Registered at the provider, which refuses any other: a forged Host header gains nothing."""
    scheme = "https" if deps.settings.sign_in.secure_cookies else "http"
    return f"{scheme}://{request.headers['host']}/sign-in/oidc/callback"


def _cookie(deps: Dependencies) -> str:
    return f"{cookie_name(secure=deps.settings.sign_in.secure_cookies)}-oidc"


def _set_cookie(answer: Response, deps: Dependencies, value: str, max_age: int) -> None:
    secure = deps.settings.sign_in.secure_cookies
    answer.set_cookie(_cookie(deps), value, max_age=max_age, secure=secure, httponly=True, samesite="lax")
