"""Items about which reviewers disagree, and a lead's word that ends it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from pipeline.people import Role
from pipeline.review.decisions import end_dispute
from workers.web.asked import Asked
from workers.web.desk.items import DecisionForm
from workers.web.desk.queue import LABELS, decision_to_undo
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

PAGE = 50

router = APIRouter(include_in_schema=False)
Lead = Annotated[Person, Depends(require(Role.LEAD))]


@router.get("/disputes", response_class=HTMLResponse)
def disputes(request: Request, deps: Deps, person: Lead, after: Annotated[int, Query(ge=0)] = 0) -> HTMLResponse:
    """Oldest first, with who said what."""
    with deps.stores.transaction() as transaction:
        found = transaction.queue.disputed(after=after, limit=PAGE + 1)
        listed = [(item, transaction.decisions.given(item.id)) for item in found[:PAGE]]
        last = decision_to_undo(transaction, person, deps.settings.review)
    more = found[PAGE - 1].id if len(found) > PAGE else None
    return render(request, "disputes.html", person, listed=listed, more=more, last=last, labels=LABELS, asked=Asked())


@router.post("/items/{item_id}/end")
def end(item_id: int, deps: Deps, person: Lead, form: Annotated[DecisionForm, Form()]) -> RedirectResponse:
    """The lead's word."""
    with deps.stores.transaction() as transaction:
        end_dispute(transaction, item_id, person.name, form.said, deps.settings)
    return RedirectResponse("/disputes", HTTPStatus.SEE_OTHER)
