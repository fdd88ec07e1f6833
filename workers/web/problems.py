"""Errors as RFC 9457 `application/problem+json`, from our exception tree and from FastAPI's."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from pipeline.errors import Conflict, InvalidEvent, NotFound, PipelineError, RetryableError, UnstorableValue
from workers import metrics
from workers.stream import BucketNotAllowed, RateLimited, StreamFull
from workers.web.desk.session import SignInNeeded
from workers.web.desk.shell import render

log = structlog.get_logger(__name__)

RETRY_AFTER = 5
"""Seconds that a client should wait while a server behind us is away or full."""

_STATUS: dict[type[PipelineError], tuple[HTTPStatus, str]] = {
    BucketNotAllowed: (HTTPStatus.FORBIDDEN, "bucket_not_allowed"),
    InvalidEvent: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_event"),
    UnstorableValue: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request"),
    NotFound: (HTTPStatus.NOT_FOUND, "not_found"),
    Conflict: (HTTPStatus.CONFLICT, "conflict"),
    RateLimited: (HTTPStatus.TOO_MANY_REQUESTS, "rate_limited"),
    StreamFull: (HTTPStatus.SERVICE_UNAVAILABLE, "stream_full"),
    RetryableError: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
}
"""The nearest class in an error's ancestry decides."""


class Problem(BaseModel):
    """RFC 9457."""

    type: str = "about:blank"
    """`urn:lenswatch:problem:<code>`, stable."""
    title: str
    status: int
    detail: str = ""
    errors: list[dict[str, Any]] | None = None
    """Which fields of the request are wrong, where that is the problem."""


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for these errors."""
    content = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    return {status.value: {"description": status.phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem. The handlers are coroutines: others would each cost a thread's turn."""
    app.exception_handler(PipelineError)(_pipeline_error)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(Exception)(_unexpected)


def problem(
    status: HTTPStatus,
    code: str,
    detail: str = "",
    *,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, Any]] | None = None,
) -> JSONResponse:
    body = Problem(
        type=f"urn:lenswatch:problem:{code}", title=status.phrase, status=status, detail=detail, errors=errors
    )
    return JSONResponse(
        body.model_dump(exclude_none=True), status, headers=headers, media_type="application/problem+json"
    )


async def _pipeline_error(request: Request, error: PipelineError) -> Response:
    status, code = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    if not isinstance(error, RetryableError):
        return _answer(request, problem(status, code, str(error)), str(error))
    metrics.REQUESTS_REFUSED.labels(code).inc()
    log.warning("request_refused", reason=code, error=str(error))
    # What is wrong with a server of ours is for our logs alone.
    ours = isinstance(error, StreamFull | RateLimited)
    detail = str(error) if ours else "A server behind this one is away; try again."
    wait = math.ceil(getattr(error, "retry_after", RETRY_AFTER))
    return _answer(request, problem(status, code, detail, headers={"Retry-After": str(wait)}), detail)


async def _http_error(request: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    if isinstance(error, SignInNeeded) and request.method == "GET" and _is_for_a_person(request):
        back = quote(f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path)
        return RedirectResponse(f"/sign-in?next={back}", HTTPStatus.SEE_OTHER)
    headers = dict(error.headers) if error.headers else None
    return _answer(request, problem(status, status.name.lower(), str(error.detail), headers=headers), str(error.detail))


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    errors = [{"field": ".".join(map(str, found["loc"])), "message": found["msg"]} for found in error.errors()]
    answer = problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", errors=jsonable_encoder(errors))
    return _answer(request, answer, "; ".join(f"{each['field']}: {each['message']}" for each in errors))


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return _answer(request, problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error"), "It is in the logs.")


def _is_for_a_person(request: Request) -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _answer(request: Request, answer: JSONResponse, detail: str) -> Response:
    """The problem as it is, or for a browser as a page."""
    if not _is_for_a_person(request):
        return answer
    title = HTTPStatus(answer.status_code).phrase
    page = render(request, "error.html", None, status=answer.status_code, title=title, detail=detail)
    page.headers.update({name: value for name, value in answer.headers.items() if name == "retry-after"})
    return page
