"""No request body over a limit, whatever its headers say, and no more requests at a time than can be answered soon."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers import metrics
from workers.web.problems import RETRY_AFTER, problem

MAX_BODY = 1 << 20
"""Bytes. An event is a few hundred; a notification of S3 holds up to a thousand of them."""


class BodyLimit:
    """ASGI middleware that answers 413: by the announced length, or as soon as too much has arrived."""

    def __init__(self, app: ASGIApp, max_body: int = MAX_BODY) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        detail = f"The body may have at most {self._max_body} bytes."
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._max_body:
            await problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", detail)(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
            return message

        await self._app(scope, limited, send)


WATCHED = frozenset({"/healthz", "/readyz", "/metrics"})
"""Always answered: who watches must not take a busy process for a dead one."""


class RequestLimit:
    """ASGI middleware that answers 503 at once while `most` requests are being worked on.

    Without it a process that does not keep up answers everybody, too late for anybody.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in WATCHED:
            await self._app(scope, receive, send)
            return
        if self._working >= self._most:
            metrics.REQUESTS_REFUSED.labels("busy").inc()
            headers = {"Retry-After": str(RETRY_AFTER)}
            busy = problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "Too many requests at a time.", headers=headers)
            await busy(scope, receive, send)
            return
        self._working += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._working -= 1
