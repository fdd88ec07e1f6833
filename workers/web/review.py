"""The review queue for platforms with a desk of their own. The name of the caller's key is the reviewer's name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from pipeline.people import KeyRole
from pipeline.records import ItemState, Label, Purpose
from pipeline.review.decisions import Statement, decide_unseen
from pipeline.review.decisions import undo as take_back
from pipeline.review.items import Item, Reason, SkipReason
from pipeline.review.queue import claim_next, name_of, take
from pipeline.review.queue import skip as pass_on
from pipeline.store import Transaction, VerdictView
from workers.web.asked import Asked
from workers.web.auth import require_key
from workers.web.problems import documented
from workers.web.state import Deps

router = APIRouter(
    prefix="/v1/review",
    tags=["review"],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
Reviewer = Annotated[str, Depends(require_key(KeyRole.REVIEWER))]
_ONE = documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A verdict that waits for a person, with its evidence."""

    id: int
    purpose: Purpose
    state: ItemState
    created_at: datetime
    held_until: datetime | None
    statement: str | None
    """Of who appeals."""
    verdict: VerdictView | None
    """None where a newer model has answered since."""


class DecisionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    label: Label
    reason: Reason | None = None
    note: str = Field(default="", max_length=2000)


class SkipRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: SkipReason = SkipReason.OTHER


class UndoRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    decision_id: int | None = Field(default=None, description="Which one is meant; without: your last.")


class Decided(BaseModel):
    decision_id: int


@router.get("")
def waiting(
    deps: Deps, reviewer: Reviewer, asked: Annotated[Asked, Query()], limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[ReviewItem]:
    """Open items with their evidence, but for those that you hold."""
    with deps.stores.transaction() as transaction:
        listed = transaction.queue.page(asked.which, asked.order, reader=name_of(reviewer), limit=limit)
        return [_view(transaction, each.item) for each in listed]


@router.post("/claim", responses={HTTPStatus.NO_CONTENT.value: {"description": "Nothing waits."}})
def claim(reviewer: Reviewer, deps: Deps, asked: Asked, response: Response) -> ReviewItem | None:
    """Your next item, held for you until `held_until`; what you hold already comes first."""
    settings = deps.settings.review
    with deps.stores.transaction() as transaction:
        turn = claim_next(transaction, reviewer, asked.which, asked.order, settings)
        if turn is not None:
            return _view(transaction, turn.item)
    response.status_code = HTTPStatus.NO_CONTENT
    return None


@router.post("/{item_id}/decision", status_code=HTTPStatus.CREATED, responses=_ONE)
def decide(item_id: int, decision: DecisionRequest, reviewer: Reviewer, deps: Deps) -> Decided:
    """Say what it is, where nobody else holds it. Kept for ever; you may take your last decision back for a while."""
    said = Statement(decision.label, decision.reason, decision.note)
    with deps.stores.transaction() as transaction:
        given = decide_unseen(transaction, item_id, reviewer, said, deps.settings)
    return Decided(decision_id=given.id)


@router.post("/{item_id}/skip", status_code=HTTPStatus.NO_CONTENT, responses=_ONE)
def skip(item_id: int, skipped: SkipRequest, reviewer: Reviewer, deps: Deps) -> None:
    """Pass it on to others; you are not given it again."""
    with deps.stores.transaction() as transaction:
        take(transaction, item_id, reviewer, deps.settings.review, show=False)
        pass_on(transaction, item_id, reviewer, skipped.reason)


@router.post("/undo", responses=documented(HTTPStatus.CONFLICT))
def undo(reviewer: Reviewer, deps: Deps, which: UndoRequest) -> ReviewItem:
    """Take back your last decision; you hold the item again where it is free."""
    with deps.stores.transaction() as transaction:
        item = take_back(transaction, reviewer, deps.settings, decision_id=which.decision_id)
        return _view(transaction, item)


def _view(transaction: Transaction, item: Item) -> ReviewItem:
    verdict = transaction.verdicts.of_upload(item.upload_id)
    if verdict is not None and verdict.verdict_id != item.verdict_id:
        verdict = None
    appeal = transaction.appeals.of_item(item.id) if item.purpose is Purpose.APPEAL else None
    return ReviewItem(
        id=item.id,
        purpose=item.shown_purpose,
        state=item.state,
        created_at=item.created_at,
        held_until=item.held_until if item.is_held else None,
        statement=appeal.statement if appeal else None,
        verdict=verdict,
    )
