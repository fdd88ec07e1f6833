"""For machines that watch: health, readiness, metrics, and the published schema."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from pipeline.errors import RetryableError
from pipeline.records import Lane, UploadEvent
from workers import metrics
from workers.bootstrap import Dependencies
from workers.lanes import LANES, queue_name
from workers.stream import stream_name, translated
from workers.web.state import Deps

log = structlog.get_logger(__name__)

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthy() -> dict[str, str]:
    """This process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A server behind this one is away."}})
def ready(deps: Deps) -> JSONResponse:
    """The doors work: Redis answers. Postgres is reported, but an event can be taken without it."""
    servers = {"redis": _answers(lambda: _ping(deps)), "postgres": _answers(deps.stores.ping)}
    status = HTTPStatus.OK if servers["redis"] else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"ready": servers["redis"], "servers": servers}, status)


@router.get("/metrics", response_class=Response)
def scrape(deps: Deps) -> Response:
    """For Prometheus. Depth and age of the lanes are looked up at each scrape."""
    for observe in (_observe_redis, _observe_ledger):
        try:
            observe(deps)
        except RetryableError as error:  # the other metrics are wanted most when a server is away
            log.warning("lanes_not_observed", error=str(error))
    return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/schemas/upload-event")
async def upload_event_schema() -> dict[str, Any]:
    """JSON Schema of an upload event; also in the repository, as `docs/schemas/upload-event.v1.json`."""
    return UploadEvent.model_json_schema()


def _answers(ping: Callable[[], object]) -> bool:
    try:
        ping()
    except RetryableError as error:
        log.warning("not_ready", error=str(error))
        return False
    return True


def _ping(deps: Dependencies) -> None:
    with translated():
        deps.redis.ping()


def _observe_redis(deps: Dependencies) -> None:
    with translated():
        for lane in Lane:
            metrics.LANE_DEPTH.labels(lane.value, "stream").set(
                int(deps.redis.xlen(stream_name(deps.settings.redis, lane)))
            )
        for name in LANES:
            metrics.LANE_DEPTH.labels(name, "queue").set(int(deps.redis.llen(queue_name(name))))


def _observe_ledger(deps: Dependencies) -> None:
    with deps.stores.transaction() as transaction:
        backlogs = transaction.uploads.backlog()
    now = datetime.now(UTC)
    for lane in Lane:
        backlog = backlogs.get(lane)
        metrics.LANE_DEPTH.labels(lane.value, "ledger").set(backlog.count if backlog else 0)
        age = (now - backlog.oldest).total_seconds() if backlog else 0.0
        metrics.LANE_AGE.labels(lane.value).set(age)
