"""Near copies of an item, decided together with it, after a look at them all."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Field

from pipeline.evidence import NearCopy
from pipeline.review import decisions as review
from pipeline.review.items import Item, Reason
from pipeline.review.queue import check_lease, claim_next
from pipeline.settings import ReviewSettings
from pipeline.store import Transaction
from workers.web.desk.items import KEYS, DecisionForm
from workers.web.desk.queue import LABELS, InUrl, Reviewer, to_turn
from workers.web.desk.shell import render
from workers.web.state import Deps

MOST = 200
"""Near copies that are looked at."""

router = APIRouter(include_in_schema=False)


class CopiesForm(DecisionForm):
    chosen: list[int] = Field(default_factory=list)
    """Items, beside the one that is shown."""


@router.get("/items/{item_id}/copies", response_class=HTMLResponse)
def copies(request: Request, item_id: int, deps: Deps, person: Reviewer, asked: InUrl) -> HTMLResponse:
    """What can be decided together with this item. Raises Conflict where the reviewer does not hold it."""
    with deps.stores.transaction() as transaction:
        item = transaction.queue.get(item_id)
        check_lease(item, person.name)
        near = copies_to_decide(transaction, item, person.name, deps.settings.review)
    return render(
        request, "bulk.html", person, item=item, copies=near, asked=asked, labels=LABELS, keys=KEYS, reasons=Reason
    )


@router.post("/items/{item_id}/copies")
def decide_copies(
    item_id: int, deps: Deps, person: Reviewer, asked: InUrl, form: Annotated[CopiesForm, Form()]
) -> RedirectResponse:
    """Decide the item and the chosen copies alike, those aside that are no copies or that somebody took meanwhile."""
    with deps.stores.transaction() as transaction:
        item = transaction.queue.get(item_id)
        near = copies_to_decide(transaction, item, person.name, deps.settings.review)
        chosen = {copy.item_id for copy in near if copy.item_id is not None} & set(form.chosen)
        review.decide_copies(transaction, item_id, chosen, person.name, form.said, deps.settings)
        turn = claim_next(transaction, person.name, asked.which, asked.order, deps.settings.review)
    return to_turn(turn, asked)


def copies_to_decide(transaction: Transaction, item: Item, reviewer: str, settings: ReviewSettings) -> list[NearCopy]:
    """Near copies that wait, that nobody else holds, and that this reviewer has not decided."""
    near = transaction.evidence.near_copies(item.sha256, bits=settings.near_copy_bits, limit=MOST)
    return [
        copy
        for copy in near
        if copy.item_id not in (None, item.id)
        and copy.held_by in (None, reviewer)
        and transaction.queue.may_decide(reviewer, copy.item_id or 0)
    ]
