"""Which program may call. Every route of the API but health, metrics and the schema needs one of the configured keys.

The API takes `Authorization: Bearer <key>` only: a browser never adds that by itself, so no foreign page can act in a
caller's name. The doors for events also take a signed body, for senders that should not put a secret on the wire.
Pages are for people, who sign in: `desk/session.py`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import structlog
from fastapi import HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pipeline.people import KeyRole
from pipeline.settings import WebSettings
from workers.keys import hash_key, read_setting
from workers.signature import HEADER, KEY_HEADER, is_valid

_bearer = HTTPBearer(auto_error=False, description="One of the configured API keys.")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


def require_key(role: KeyRole) -> Callable[..., Coroutine[Any, Any, str]]:
    """A dependency that gives the name of the caller's key, which has at least this role; log lines carry the name.

    `require_key(...).role` is what the walk over all routes reads.
    """

    async def dependency(request: Request, credentials: Bearer) -> str:
        return _caller(request, credentials, role)

    dependency.role = role  # type: ignore[attr-defined]
    return dependency


class _KeyOrSignature(HTTPBearer):
    """For the doors: a key, or a signed body. Gives the key's name. One dependency, because each costs 30 us."""

    role = KeyRole.SENDER

    async def __call__(self, request: Request) -> str:  # type: ignore[override]
        signature = request.headers.get(HEADER)
        if signature is None:
            return _caller(request, await super().__call__(request), self.role)
        settings: WebSettings = request.app.state.settings.web
        name = request.headers.get(KEY_HEADER, "")
        return _known(name if _has_signed(name, signature, await request.body(), settings) else None)


Sender = Annotated[
    str,
    Security(
        _KeyOrSignature(
            scheme_name="KeyOrSignature",
            description=f"An API key, or instead of `Authorization` the headers `{KEY_HEADER}` and `{HEADER}`.",
            auto_error=False,
        )
    ),
]


def find_key(candidate: str, settings: WebSettings) -> tuple[str, KeyRole] | None:
    """Name and role of the configured key that this is. The time taken tells neither a key nor which one it was."""
    hashed = hash_key(candidate)
    known = ((name, *read_setting(setting)) for name, setting in settings.api_keys.items())
    matches = [(name, role) for name, role, digest in known if secrets.compare_digest(hashed, digest)]
    return matches[0] if matches else None


def _caller(request: Request, credentials: HTTPAuthorizationCredentials | None, needed: KeyRole) -> str:
    settings: WebSettings = request.app.state.settings.web
    found = find_key(credentials.credentials, settings) if credentials else None
    name = _known(found[0] if found else None)
    if found and not found[1].includes(needed):
        raise HTTPException(403, f"This needs a key with the role {needed.value}; the role of {name} is {found[1]}.")
    return name


def _has_signed(name: str, signature: str, body: bytes, settings: WebSettings) -> bool:
    secret = settings.door_secrets.get(name)
    return secret is not None and is_valid(
        signature, body, secret.get_secret_value(), now=time.time(), window=settings.signature_window
    )


def _known(name: str | None) -> str:
    if name is None:
        raise HTTPException(401, "A valid API key is needed.", headers={"WWW-Authenticate": "Bearer"})
    structlog.contextvars.bind_contextvars(key=name)
    return name
