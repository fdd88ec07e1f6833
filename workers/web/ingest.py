"""The HTTP doors: one event, or the notification of an S3 server. They touch Redis, once, and nothing else."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel

from pipeline.errors import InvalidEvent
from pipeline.events import events_from_s3, parse_event
from pipeline.records import Lane
from workers.door import Door
from workers.web.auth import Sender
from workers.web.problems import documented
from workers.web.state import Doors

router = APIRouter(
    prefix="/v1",
    tags=["events"],
    responses=documented(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)


_EVENT = {"required": True, "content": {"application/json": {"schema": {"$ref": "/v1/schemas/upload-event"}}}}


class Accepted(BaseModel):
    """The event is on its stream, from which nothing gets lost."""

    event_id: str
    entry_id: str
    """Of the stream's entry."""


class AcceptedNotification(BaseModel):
    accepted: list[Accepted]
    """Empty where the notification told of no object that came or went."""


@router.post("/uploads", status_code=HTTPStatus.ACCEPTED, openapi_extra={"requestBody": _EVENT})
async def accept_upload(request: Request, sender: Sender) -> Accepted:
    """Take one upload event. Sending it again is harmless: after 429 or 503 do so, `Retry-After` seconds later."""
    # The one route of which thousands come in a second: FastAPI's own reading of it would cost a third of its time.
    doors: Door = request.app.state.door
    event = parse_event(await request.body())
    if event.callback is not None and event.callback not in doors.settings.web.webhooks:
        raise InvalidEvent("callback: no webhook of this name is configured")
    [entry_id] = await doors.submit([event], door="http", key=sender)
    return Accepted(event_id=event.event_id, entry_id=entry_id)


@router.post("/hooks/s3", status_code=HTTPStatus.ACCEPTED)
async def accept_s3_notification(
    payload: Annotated[dict[str, Any], Body(description="`Records` (AWS, MinIO) or one EventBridge event.")],
    sender: Sender,
    doors: Doors,
    surface: Annotated[
        str, Query(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Of the bucket's uploads.")
    ] = "default",
    lane: Lane = Lane.LIVE,
) -> AcceptedNotification:
    """Take the uploads and deletions that an S3 notification tells of; whatever else happened to a bucket is ignored.

    A notification names neither surface nor lane: give them in the URL that the bucket's notifications go to.
    """
    events = [event.model_copy(update={"surface": surface, "lane": lane}) for event in events_from_s3(payload)]
    entry_ids = await doors.submit(events, door="s3_hook", key=sender)
    return AcceptedNotification(
        accepted=[
            Accepted(event_id=event.event_id, entry_id=entry_id)
            for event, entry_id in zip(events, entry_ids, strict=True)
        ]
    )
