"""Who may call. Every route but health, metrics and the schema needs one of the configured keys.

The API takes `Authorization: Bearer <key>` only: a browser never adds that by itself, so no foreign page can act in a
reviewer's name. Pages, which only read, also take HTTP Basic with the key as password, because browsers ask for it.
The doors for events also take a signed body, for senders that should not put a secret on the wire.
"""

from __future__ import annotations

import secrets
import time
from typing import Annotated

import structlog
from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer

from pipeline.settings import WebSettings
from workers.keys import hash_key
from workers.signature import HEADER, KEY_HEADER, is_valid

_bearer = HTTPBearer(auto_error=False, description="One of the configured API keys.")
_basic = HTTPBasic(auto_error=False, realm="Lenswatch: any name, an API key as password")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


async def require_key(request: Request, credentials: Bearer) -> str:
    """For the API. Returns the key's name, which log lines carry from here on."""
    settings: WebSettings = request.app.state.settings.web
    return _known(key_name(credentials.credentials, settings) if credentials else None, "Bearer")


class _KeyOrSignature(HTTPBearer):
    """For the doors: a key, or a signed body. Gives the key's name. One dependency, because each costs 30 us."""

    async def __call__(self, request: Request) -> str:  # type: ignore[override]
        signature = request.headers.get(HEADER)
        if signature is None:
            return await require_key(request, await super().__call__(request))
        settings: WebSettings = request.app.state.settings.web
        name = request.headers.get(KEY_HEADER, "")
        return _known(name if _has_signed(name, signature, await request.body(), settings) else None, "Bearer")


async def require_reader(request: Request, credentials: Annotated[HTTPBasicCredentials | None, Depends(_basic)]) -> str:
    """For pages. Returns the key's name."""
    settings: WebSettings = request.app.state.settings.web
    return _known(key_name(credentials.password, settings) if credentials else None, 'Basic realm="Lenswatch"')


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


def key_name(candidate: str, settings: WebSettings) -> str | None:
    """Name of the configured key that this is. The time taken tells neither a key nor which one it was."""
    hashed = hash_key(candidate)
    matches = [name for name, known in settings.api_keys.items() if secrets.compare_digest(hashed, known)]
    return matches[0] if matches else None


def _has_signed(name: str, signature: str, body: bytes, settings: WebSettings) -> bool:
    secret = settings.door_secrets.get(name)
    return secret is not None and is_valid(
        signature, body, secret.get_secret_value(), now=time.time(), window=settings.signature_window
    )


def _known(name: str | None, scheme: str) -> str:
    if name is None:
        raise HTTPException(401, "A valid API key is needed.", headers={"WWW-Authenticate": scheme})
    structlog.contextvars.bind_contextvars(key=name)
    return name
