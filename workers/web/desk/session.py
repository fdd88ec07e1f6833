"""Who is asking: the person behind a browser's cookie, and whether she may.

The cookie is 256 random bits; the database holds their hash. A form that changes anything carries a token made from
them, which no other site can read, and browsers say beside it where a request comes from.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from fastapi import HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from pipeline.people import Role
from workers.bootstrap import Dependencies

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in."""

    account_id: int
    name: str
    role: Role
    csrf: str
    """What a form of hers has to send as `csrf`, or a script as `X-CSRF-Token`."""

    def may(self, role: Role | str) -> bool:
        return self.role.includes(Role(role))


class SignInNeeded(HTTPException):
    """Answered with a redirect to the sign-in page, which leads back."""

    def __init__(self) -> None:
        super().__init__(401, "Sign in first.")


def new_token() -> str:
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def csrf_of(token: str) -> str:
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def cookie_name(*, secure: bool) -> str:
    """Browsers take a `__Host-` cookie only over TLS, from this host, for all of it."""
    return "__Host-lenswatch" if secure else "lenswatch"


def require(role: Role) -> Callable[[Request], Coroutine[Any, Any, Person]]:
    """A dependency that gives the signed-in person, who has at least this role; it also checks forms' CSRF tokens.

    `require.role` of the returned function is what the walk over all routes reads.
    """

    async def dependency(request: Request) -> Person:
        person = await run_in_threadpool(person_of, request)
        if person is None:
            raise SignInNeeded
        if not person.may(role):
            raise HTTPException(403, f"This page is for the role {role.value}.")
        if request.method not in SAFE_METHODS:
            await _check_csrf(request, person)
        structlog.contextvars.bind_contextvars(person=person.name)
        return person

    dependency.role = role  # type: ignore[attr-defined]
    return dependency


def person_of(request: Request) -> Person | None:
    deps: Dependencies = request.app.state.dependencies
    settings = deps.settings.sign_in
    token = request.cookies.get(cookie_name(secure=settings.secure_cookies))
    if not token:
        return None
    with deps.stores.transaction() as transaction:
        account = transaction.accounts.of_session(hash_token(token), idle=settings.session_idle)
    return Person(account.id, account.name, account.role, csrf_of(token)) if account else None


def start_session(request: Request, response: Response, account_id: int) -> None:
    """Sign this browser in. Whatever session it had is over: nobody who planted or saw an old cookie shares the new."""
    deps: Dependencies = request.app.state.dependencies
    settings = deps.settings.sign_in
    old, new = request.cookies.get(cookie_name(secure=settings.secure_cookies)), new_token()
    with deps.stores.transaction() as transaction:
        if old:
            transaction.accounts.close_session(hash_token(old))
        transaction.accounts.open_session(account_id, hash_token(new), lifetime=settings.session_lifetime)
    response.set_cookie(
        cookie_name(secure=settings.secure_cookies),
        new,
        max_age=round(settings.session_lifetime.total_seconds()),
        secure=settings.secure_cookies,
        httponly=True,
        samesite="lax",  # not strict: who comes from an OpenID provider, or by a link, would look signed out
    )


def end_session(request: Request, response: Response) -> None:
    deps: Dependencies = request.app.state.dependencies
    secure = deps.settings.sign_in.secure_cookies
    if token := request.cookies.get(cookie_name(secure=secure)):
        with deps.stores.transaction() as transaction:
            transaction.accounts.close_session(hash_token(token))
    response.delete_cookie(cookie_name(secure=secure), secure=secure, httponly=True, samesite="lax")


def is_from_here(request: Request) -> bool:
    """Whether a page of this service sent the form, as the browser says: every one says it with every form."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = urlsplit(request.headers.get("Origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("Host")


async def _check_csrf(request: Request, person: Person) -> None:
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    said = request.headers.get("X-CSRF-Token") or str((await request.form()).get("csrf", ""))
    if site not in {"same-origin", "none"} or not secrets.compare_digest(said.encode(), person.csrf.encode()):
        raise HTTPException(403, "This form is not from here, or too old: load the page again.")
