"""The ASGI application, by factory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from pipeline.settings import Settings
from workers import logs
from workers.bootstrap import Dependencies
from workers.door import Door
from workers.web import appeals, dead_letters, erasure, ingest, operations, problems, review, verdicts, webhooks
from workers.web.desk import (
    audit,
    copies,
    disputes,
    drift,
    images,
    items,
    letters,
    models,
    oidc,
    overview,
    password,
    people,
    quality,
    queue,
    search,
    sign_in,
    thresholds,
    uploads,
)
from workers.web.headers import SecurityHeaders
from workers.web.limits import BodyLimit, RequestLimit

DESCRIPTION = """\
Tells a platform which uploaded images were formed by a camera, and which were not.

Every verdict is **a signal, never proof**: it says how an image compares with the photographs that the model was
calibrated on.
"""

STATIC = Path(__file__).parent / "static"


def create_app(settings: Settings) -> FastAPI:
    """The service. Connects to nothing before its first request."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with Dependencies(settings) as dependencies:
            app.state.dependencies = dependencies
            async with Door(settings) as door:
                app.state.door = door
                yield

    app = FastAPI(
        title="Lenswatch",
        version=version("lenswatch"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # both pages run scripts of a foreign server; the description itself is at /openapi.json
        redoc_url=None,
    )
    app.state.settings = settings
    problems.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestLimit, most=settings.web.max_requests)  # outside the body's: refusing must be cheap
    app.add_middleware(SecurityHeaders)
    for module in (
        ingest,
        verdicts,
        review,
        appeals,
        dead_letters,
        erasure,
        webhooks,
        operations,
        sign_in,
        oidc,
        overview,
        queue,
        items,
        copies,
        disputes,
        people,
        password,
        thresholds,
        quality,
        drift,
        letters,
        audit,
        models,
        images,
        uploads,
        search,
    ):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def process_app() -> FastAPI:
    """The service in one of uvicorn's processes, configured by the environment."""
    settings = Settings()
    logs.configure(settings, "web")
    return create_app(settings)
