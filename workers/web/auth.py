"""Who may call. Every route but health, metrics and the schema needs one of the configured keys.

The API takes `Authorization: Bearer <key>` only: a browser never adds that by itself, so no foreign page can act in a
reviewer's name. Pages, which only read, also take HTTP Basic with the key as password, because browsers ask for it.
"""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasic, HTTPBasicCredentials, HTTPBearer

from pipeline.settings import WebSettings

_bearer = HTTPBearer(auto_error=False, description="One of the configured API keys.")
_basic = HTTPBasic(auto_error=False, realm="Lenswatch: any name, an API key as password")


def require_key(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> None:
    """For the API."""
    if credentials is None or not is_key(credentials.credentials, request.app.state.settings.web):
        raise HTTPException(401, "A valid API key is needed.", headers={"WWW-Authenticate": "Bearer"})


def require_reader(request: Request, credentials: Annotated[HTTPBasicCredentials | None, Depends(_basic)]) -> None:
    """For pages."""
    if credentials is None or not is_key(credentials.password, request.app.state.settings.web):
        raise HTTPException(401, "An API key is needed.", headers={"WWW-Authenticate": 'Basic realm="Lenswatch"'})


def is_key(candidate: str, settings: WebSettings) -> bool:
    """Compare with every key in constant time; the time tells neither a key nor which one it was."""
    matches = [secrets.compare_digest(candidate.encode(), key.get_secret_value().encode()) for key in settings.api_keys]
    return any(matches)
