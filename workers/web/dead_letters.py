"""Work that was given up on: see it, try it again, or let it go."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from pipeline.store import DeadLetter
from workers.web.auth import require_key
from workers.web.problems import documented
from workers.web.state import Deps

router = APIRouter(
    prefix="/v1/dead-letters",
    tags=["dead letters"],
    dependencies=[Depends(require_key)],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE),
)
_RESOLVING = documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


class Resolution(BaseModel):
    model_config = ConfigDict(extra="forbid")

    actor: str = Field(min_length=1, max_length=100, description="Who decides this; it is written down.")


class Replayed(BaseModel):
    upload_id: int


@router.get("")
def waiting(deps: Deps, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[DeadLetter]:
    """Open ones, oldest first."""
    with deps.stores.transaction() as transaction:
        return transaction.dead_letters.waiting(limit)


@router.post("/{letter_id}/replay", status_code=HTTPStatus.ACCEPTED, responses=_RESOLVING)
def replay(letter_id: int, resolution: Resolution, deps: Deps) -> Replayed:
    """Queue its upload again, with all attempts. An event that never became an upload must be corrected and resent."""
    with deps.stores.transaction() as transaction:
        upload = transaction.dead_letters.replay(letter_id, actor=resolution.actor)
    deps.send_moderation(upload)  # after the commit; where it fails, the re-sender finds the row
    return Replayed(upload_id=upload.id)


@router.post("/{letter_id}/drop", status_code=HTTPStatus.NO_CONTENT, responses=_RESOLVING)
def drop(letter_id: int, resolution: Resolution, deps: Deps) -> None:
    """Close it for good; the row stays, with who did it."""
    with deps.stores.transaction() as transaction:
        transaction.dead_letters.drop(letter_id, actor=resolution.actor)
