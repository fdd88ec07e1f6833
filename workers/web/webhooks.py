"""Webhooks that went out, that wait, or that were given up on: see them, and have them sent again."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from pipeline.people import KeyRole
from pipeline.store import DeliveryState, Webhook
from workers.web.auth import require_key
from workers.web.dead_letters import Resolution
from workers.web.problems import documented
from workers.web.state import Deps

router = APIRouter(
    prefix="/v1/webhooks",
    tags=["webhooks"],
    dependencies=[Depends(require_key(KeyRole.LEAD))],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE),
)
_ONE = documented(HTTPStatus.NOT_FOUND)


class Replayed(BaseModel):
    count: int
    """At most `limit`: call again until it is 0."""


@router.get("")
def webhooks(
    deps: Deps,
    state: DeliveryState = DeliveryState.ABANDONED,
    callback: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[Webhook]:
    """Newest first."""
    with deps.stores.transaction() as transaction:
        return transaction.outbox.find(state, callback=callback, limit=limit)


@router.get("/{delivery_id}", responses=_ONE)
def webhook(delivery_id: UUID, deps: Deps) -> Webhook:
    """One, by the id that its receiver sees as `Lenswatch-Delivery`."""
    with deps.stores.transaction() as transaction:
        return transaction.outbox.get(delivery_id)


@router.post("/{delivery_id}/replay", status_code=HTTPStatus.ACCEPTED, responses=_ONE)
def replay(delivery_id: UUID, resolution: Resolution, deps: Deps) -> Webhook:
    """Send it again, whatever became of it, under the same id."""
    with deps.stores.transaction() as transaction:
        transaction.outbox.replay(delivery_id, actor=resolution.actor)
    with deps.stores.transaction() as transaction:
        return transaction.outbox.get(delivery_id)


@router.post("/replay", status_code=HTTPStatus.ACCEPTED)
def replay_abandoned(
    callback: Annotated[str, Query(max_length=64)],
    resolution: Resolution,
    deps: Deps,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Replayed:
    """Send again what one endpoint was away for too long to get, oldest first."""
    with deps.stores.transaction() as transaction:
        count = transaction.outbox.replay_abandoned(callback, limit=limit, actor=resolution.actor)
    return Replayed(count=count)
