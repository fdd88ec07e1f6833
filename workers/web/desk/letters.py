"""Work that was given up on: look at it, try it again, or let it go; one letter or many."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from pipeline.people import Role
from pipeline.store import LetterFilter
from workers.bootstrap import Dependencies
from workers.replay import replay
from workers.web.desk.days import day
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

router = APIRouter(prefix="/letters", include_in_schema=False)

Lead = Annotated[Person, Depends(require(Role.LEAD))]

PAGE = 100


@router.get("", response_class=HTMLResponse)
def waiting(
    request: Request,
    deps: Deps,
    person: Lead,
    reason: Annotated[str, Query(max_length=100)] = "",
    stage: Annotated[str, Query(max_length=100)] = "",
    since: Annotated[str, Query(max_length=10)] = "",
    after: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """Open ones, oldest first."""
    which = LetterFilter(reason.strip() or None, stage.strip() or None, day(since))
    with deps.stores.transaction() as transaction:
        letters = transaction.dead_letters.waiting(PAGE, after=after, which=which)
        reasons = transaction.dead_letters.reasons()
    said = {name: value for name, value in request.query_params.items() if name not in {"after", "done"} and value}
    return render(
        request,
        "letters.html",
        person,
        letters=letters,
        reasons=reasons,
        said=said,
        back=f"/letters?{urlencode(said)}",
        following=urlencode(said | {"after": str(letters[-1].id)}) if len(letters) == PAGE else None,
        done=request.query_params.get("done"),
    )


@router.get("/{letter_id}", response_class=HTMLResponse)
def one(request: Request, deps: Deps, person: Lead, letter_id: int) -> HTMLResponse:
    with deps.stores.transaction() as transaction:
        letter = transaction.dead_letters.get(letter_id)
    payload = letter.payload and json.dumps(letter.payload, indent=2, ensure_ascii=False)
    return render(request, "letter.html", person, letter=letter, payload=payload)


@router.post("/resolve")
def resolve(
    deps: Deps,
    person: Lead,
    action: Annotated[str, Form(pattern="^(replay|drop)$")],
    letter: Annotated[list[int] | None, Form(max_length=PAGE)] = None,
    back: Annotated[str, Form(max_length=500)] = "/letters",
) -> RedirectResponse:
    """Do these letters again, or let them go: all of them or none."""
    if not letter:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "Choose at least one letter.")
    if action == "replay":
        replay(deps, letter, actor=person.name)
    else:
        _drop(deps, letter, person.name)
    done = urlencode({"done": f"{len(letter)} {'queued again' if action == 'replay' else 'dropped'}"})
    place = back if back == "/letters" or back.startswith("/letters?") else "/letters"  # nowhere else
    return RedirectResponse(f"{place}{'&' if '?' in place else '?'}{done}", HTTPStatus.SEE_OTHER)


def _drop(deps: Dependencies, letters: list[int], actor: str) -> None:
    with deps.stores.transaction() as transaction:
        for letter_id in letters:
            transaction.dead_letters.drop(letter_id, actor=actor)
