"""The queue: what waits, by filters that stand in the URL, and where to begin."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from pipeline.people import Role
from pipeline.records import Label, Lane, Purpose, VerdictKind
from pipeline.review.items import Given, Order
from pipeline.review.queue import Turn, claim_next
from pipeline.settings import ReviewSettings
from pipeline.store import Transaction
from pipeline.store.queue import MOST, Cursor
from workers.web.asked import Asked
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

PAGE = 50
FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF")
PURPOSES = (Purpose.UNSURE, Purpose.SAMPLE, Purpose.APPEAL)
LABELS = {
    Label.CAMERA: "Camera",
    Label.NOT_CAMERA: "Not camera",
    Label.CANT_TELL: "Can't tell",
    Label.NOT_APPLICABLE: "Not applicable",
}

router = APIRouter(include_in_schema=False)
Reviewer = Annotated[Person, Depends(require(Role.REVIEWER))]
InUrl = Annotated[Asked, Query()]


@router.get("/queue", response_class=HTMLResponse)
def queue(
    request: Request,
    deps: Deps,
    person: Reviewer,
    asked: InUrl,
    after: Annotated[int | None, Query()] = None,
    after_p: Annotated[float | None, Query()] = None,
) -> HTMLResponse:
    """What waits, a page at a time."""
    cursor = Cursor(after, after_p) if after is not None else None
    with deps.stores.transaction() as transaction:
        listed = transaction.queue.page(asked.which, asked.order, reader=person.name, after=cursor, limit=PAGE + 1)
        context: dict[str, Any] = {
            "backlog": transaction.queue.backlog(asked.purpose),
            "models": transaction.versions.list_all(),
            "last": decision_to_undo(transaction, person, deps.settings.review),
        }
    choices: dict[str, Any] = {
        "lanes": Lane,
        "kinds": VerdictKind,
        "orders": Order,
        "formats": FORMATS,
        "purposes": PURPOSES,
    }
    more = listed[PAGE - 1].item if len(listed) > PAGE else None
    return render(
        request,
        "queue.html",
        person,
        asked=asked,
        listed=listed[:PAGE],
        more=more,
        most=MOST,
        labels=LABELS,
        **choices,
        **context,
    )


@router.post("/queue/start")
def start(deps: Deps, person: Reviewer, asked: InUrl) -> RedirectResponse:
    """Show the reviewer her next item."""
    with deps.stores.transaction() as transaction:
        turn = claim_next(transaction, person.name, asked.which, asked.order, deps.settings.review)
    return to_turn(turn, asked)


def to_turn(turn: Turn | None, asked: Asked) -> RedirectResponse:
    """Lead to the item that the reviewer holds, or back to the queue where nothing waits."""
    path = f"/items/{turn.item.id}" if turn else "/queue"
    return RedirectResponse(f"{path}?{asked.query}" if asked.query else path, HTTPStatus.SEE_OTHER)


def decision_to_undo(transaction: Transaction, person: Person, settings: ReviewSettings) -> Given | None:
    """The reviewer's last decision, as long as she can take it back."""
    last = transaction.decisions.last(person.name)
    return last if last and last.age <= settings.undo_window else None
