"""The first page: what waits for whom, and what was decided lately."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from pipeline.people import Role
from pipeline.store import Transaction
from pipeline.store.waiting import Pile
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

LATEST = 50

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Work:
    """A pile that waits for this person, and where it is worked on."""

    name: str
    path: str
    pile: Pile


@router.get("/", response_class=HTMLResponse)
def overview(request: Request, deps: Deps, person: Annotated[Person, Depends(require(Role.VIEWER))]) -> HTMLResponse:
    with deps.stores.transaction() as transaction:
        work = waiting_for(person, transaction)
        verdicts = transaction.verdicts.latest(LATEST)
    return render(request, "overview.html", person, work=work, verdicts=verdicts)


def waiting_for(person: Person, transaction: Transaction) -> list[Work]:
    waiting, work = transaction.waiting, []
    if person.may(Role.REVIEWER):
        work += [
            Work("images to decide", "/queue", waiting.for_review()),
            Work("appeals", "/queue?purpose=appeal", waiting.appeals()),
        ]
    if person.may(Role.LEAD):
        work += [
            Work("disagreements to end", "/disputes", waiting.disputes()),
            Work("dead letters", "/letters", waiting.dead_letters()),
        ]
    return work
