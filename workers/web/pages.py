"""The page for people: what was decided lately, and where to look further."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from workers.web.auth import require_reader
from workers.web.state import Deps

LATEST = 50

router = APIRouter(dependencies=[Depends(require_reader)], include_in_schema=False)
_templates = Jinja2Templates(Path(__file__).parent / "templates")


@router.get("/", response_class=HTMLResponse)
def index(request: Request, deps: Deps) -> HTMLResponse:
    """Latest verdicts."""
    with deps.stores.transaction() as transaction:
        verdicts = transaction.verdicts.latest(LATEST)
    return _templates.TemplateResponse(request, "index.html", {"verdicts": verdicts})
