"""Work that was given up on: see it, try it again, or let it go."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pipeline.people import KeyRole
from pipeline.store import DeadLetter, LetterFilter
from workers.replay import Replayed, replay_batch
from workers.replay import replay as replay_letters
from workers.web.auth import require_key
from workers.web.problems import documented
from workers.web.state import Deps

router = APIRouter(
    prefix="/v1/dead-letters",
    tags=["dead letters"],
    dependencies=[Depends(require_key(KeyRole.LEAD))],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE),
)
_RESOLVING = documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)

Reason = Annotated[str | None, Query(max_length=100, description="Only of this reason.")]
Stage = Annotated[str | None, Query(max_length=100, description="Only of this stage.")]
Since = Annotated[AwareDatetime | None, Query(description="Only those given up on at or after this time.")]


class Resolution(BaseModel):
    model_config = ConfigDict(extra="forbid")

    actor: str = Field(min_length=1, max_length=100, description="Who decides this; it is written down.")


class BulkReplay(Resolution):
    reason: str | None = Field(default=None, max_length=100)
    stage: str | None = Field(default=None, max_length=100)
    since: AwareDatetime | None = None
    after: int = Field(default=0, ge=0, description="Number of the last letter of the batch before.")
    limit: int = Field(default=100, ge=1, le=1000, description="Letters of this batch.")


class ReplayedBatch(BaseModel):
    replayed: list[Replayed]
    """Without letters that were not kept whole: an event over the size limit cannot be done again."""
    last: int | None
    """Number of the last letter that was looked at; null where no more wait."""


@router.get("")
def waiting(
    deps: Deps,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[int, Query(ge=0, description="Number of the last letter of the page before.")] = 0,
    reason: Reason = None,
    stage: Stage = None,
    since: Since = None,
) -> list[DeadLetter]:
    """Open ones, oldest first."""
    with deps.stores.transaction() as transaction:
        return transaction.dead_letters.waiting(limit, after=after, which=LetterFilter(reason, stage, since))


@router.get("/{letter_id}", responses=documented(HTTPStatus.NOT_FOUND))
def get(letter_id: int, deps: Deps) -> DeadLetter:
    """Everything about one, resolved or not."""
    with deps.stores.transaction() as transaction:
        return transaction.dead_letters.get(letter_id)


@router.post("/replay", status_code=HTTPStatus.ACCEPTED, responses=_RESOLVING)
def replay_some(batch: BulkReplay, deps: Deps) -> ReplayedBatch:
    """Do the next letters again. Call it with the `last` of its answer as `after`, until that is null."""
    which = LetterFilter(batch.reason, batch.stage, batch.since)
    replayed, last = replay_batch(deps, which, actor=batch.actor, after=batch.after, limit=batch.limit)
    return ReplayedBatch(replayed=replayed, last=last)


@router.post("/{letter_id}/replay", status_code=HTTPStatus.ACCEPTED, responses=_RESOLVING)
def replay(letter_id: int, resolution: Resolution, deps: Deps) -> Replayed:
    """Queue its upload again, with all attempts; an event that never became one goes back on its stream."""
    [replayed] = replay_letters(deps, [letter_id], actor=resolution.actor)
    return replayed


@router.post("/{letter_id}/drop", status_code=HTTPStatus.NO_CONTENT, responses=_RESOLVING)
def drop(letter_id: int, resolution: Resolution, deps: Deps) -> None:
    """Close it for good; the row stays, with who did it."""
    with deps.stores.transaction() as transaction:
        transaction.dead_letters.drop(letter_id, actor=resolution.actor)
