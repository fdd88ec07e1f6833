"""The review queue: what the model was unsure about, and what people say."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pipeline.people import KeyRole
from pipeline.records import Label
from pipeline.review import decide as decide_item
from pipeline.store import ReviewItem
from workers.web.auth import require_key
from workers.web.problems import documented
from workers.web.state import Deps

router = APIRouter(
    prefix="/v1/review",
    tags=["review"],
    dependencies=[Depends(require_key(KeyRole.REVIEWER))],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)


class DecisionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    label: Label
    reviewer: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    note: str = Field(default="", max_length=2000)


class Decided(BaseModel):
    decision_id: int


@router.get("")
def waiting(
    deps: Deps,
    surface: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[ReviewItem]:
    """Open items, oldest first, with their evidence."""
    with deps.stores.transaction() as transaction:
        return transaction.reviews.waiting(surface=surface, limit=limit)


@router.post(
    "/{item_id}/decision",
    status_code=HTTPStatus.CREATED,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def decide(item_id: int, decision: DecisionRequest, deps: Deps) -> Decided:
    """Say what it is. Kept for ever in the audit log; a second reviewer may add a decision, the same one may not."""
    with deps.stores.transaction() as transaction:
        decision_id = decide_item(
            transaction.reviews, item_id, reviewer=decision.reviewer, label=decision.label, note=decision.note
        )
    return Decided(decision_id=decision_id)
