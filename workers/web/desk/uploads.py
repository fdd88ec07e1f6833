"""The evidence card of any upload."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse

from pipeline.people import Role
from workers.web.desk.card import evidence
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

router = APIRouter(include_in_schema=False)


@router.get("/uploads/{upload_id}", response_class=HTMLResponse)
def upload(
    request: Request, upload_id: int, deps: Deps, person: Annotated[Person, Depends(require(Role.VIEWER))]
) -> HTMLResponse:
    """Everything known of it. Only leads see which items it has, and what was said about open ones."""
    card = evidence(deps, upload_id, viewer=person, blind=not person.may(Role.LEAD))
    return render(request, "upload.html", person, card=card)
