"""One item: its evidence, the lease's clock, and what a reviewer says. After a decision the next one is there."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel, Field, field_validator

from pipeline.people import Role
from pipeline.records import ItemState, Label, Purpose
from pipeline.review import decisions as review
from pipeline.review.items import Reason, SkipReason, as_told
from pipeline.review.queue import claim_next, skip, take
from workers.web.desk.card import evidence
from workers.web.desk.queue import LABELS, InUrl, Reviewer, decision_to_undo, to_turn
from workers.web.desk.shell import render
from workers.web.state import Deps

KEYS = {Label.CAMERA: "c", Label.NOT_CAMERA: "n", Label.CANT_TELL: "t", Label.NOT_APPLICABLE: "a"}

router = APIRouter(include_in_schema=False)


class DecisionForm(BaseModel):
    label: Label
    reason: Reason | None = None
    note: str = Field(default="", max_length=2000)

    @field_validator("reason", mode="before")
    @classmethod
    def _none_if_blank(cls, value: str | None) -> str | None:
        return value or None

    @property
    def said(self) -> review.Statement:
        return review.Statement(self.label, self.reason, self.note)


@router.get("/items/{item_id}", response_class=HTMLResponse)
def item(request: Request, item_id: int, deps: Deps, person: Reviewer, asked: InUrl) -> HTMLResponse:
    """What is known of it. Others' decisions are shown once it is closed, and to the lead who ends a dispute."""
    is_lead = person.may(Role.LEAD)
    with deps.stores.transaction() as transaction:
        found, given = transaction.queue.get(item_id), transaction.decisions.given(item_id)
        last = decision_to_undo(transaction, person, deps.settings.review)
        may_undo = not is_lead and last is not None and last.item_id == item_id
        told, given = as_told(found, given, person.name, may_undo=may_undo)
        context: dict[str, Any] = {
            "appeal": transaction.appeals.of_item(item_id) if found.purpose is Purpose.APPEAL else None,
            "ahead": next((each for each in transaction.queue.peek(person.name) if each.id != item_id), None),
            "given": given,
            "last": last,
        }
    return render(
        request,
        "item.html",
        person,
        item=told,
        is_mine=told.state is ItemState.OPEN and found.held_by == person.name,
        may_end=found.state is ItemState.DISPUTED and is_lead,
        card=evidence(deps, found.upload_id, viewer=person, blind=not is_lead or found.state is ItemState.OPEN),
        asked=asked,
        labels=LABELS,
        keys=KEYS,
        reasons=Reason,
        skip_reasons=SkipReason,
        **context,
    )


@router.post("/items/{item_id}/decision")
def decide(
    item_id: int, deps: Deps, person: Reviewer, asked: InUrl, form: Annotated[DecisionForm, Form()]
) -> RedirectResponse:
    """Take the decision, and show the next item."""
    with deps.stores.transaction() as transaction:
        review.decide(transaction, item_id, person.name, form.said, deps.settings)
        turn = claim_next(transaction, person.name, asked.which, asked.order, deps.settings.review)
    return to_turn(turn, asked)


@router.post("/items/{item_id}/skip")
def pass_on(
    item_id: int, deps: Deps, person: Reviewer, asked: InUrl, reason: Annotated[SkipReason, Form()] = SkipReason.OTHER
) -> RedirectResponse:
    """Leave it to others, and show the next item."""
    with deps.stores.transaction() as transaction:
        skip(transaction, item_id, person.name, reason)
        turn = claim_next(transaction, person.name, asked.which, asked.order, deps.settings.review)
    return to_turn(turn, asked)


@router.post("/items/{item_id}/take")
def take_it(item_id: int, deps: Deps, person: Reviewer, asked: InUrl) -> RedirectResponse:
    """Hold this very item, for a whole lease from now on."""
    with deps.stores.transaction() as transaction:
        take(transaction, item_id, person.name, deps.settings.review)
    return _back_to(item_id, asked.query)


@router.post("/undo")
def undo(deps: Deps, person: Reviewer, asked: InUrl, decision_id: Annotated[int, Form()]) -> RedirectResponse:
    """Take back the decision, and show its item again."""
    with deps.stores.transaction() as transaction:
        reopened = review.undo(transaction, person.name, deps.settings, decision_id=decision_id)
    return _back_to(reopened.id, asked.query)


def _back_to(item_id: int, query: str) -> RedirectResponse:
    return RedirectResponse(f"/items/{item_id}?{query}" if query else f"/items/{item_id}", HTTPStatus.SEE_OTHER)
