"""The frame around every page: navigation by role, and how values are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from pipeline.people import Role
from workers.web.desk.session import Person

TEMPLATES = Path(__file__).parents[1] / "templates"


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation."""

    path: str
    name: str
    role: Role


PLACES = (
    Place("/", "Overview", Role.VIEWER),
    Place("/queue", "Queue", Role.REVIEWER),
    Place("/search", "Search", Role.VIEWER),
    Place("/disputes", "Disputes", Role.LEAD),
    Place("/thresholds", "Thresholds", Role.LEAD),
    Place("/quality", "Quality", Role.LEAD),
    Place("/drift", "Drift", Role.LEAD),
    Place("/letters", "Dead letters", Role.LEAD),
    Place("/audit", "Audit log", Role.LEAD),
    Place("/models", "Models", Role.LEAD),
    Place("/people", "People", Role.ADMIN),
)

templates = Jinja2Templates(TEMPLATES)
templates.env.trim_blocks = templates.env.lstrip_blocks = True


def render(
    request: Request, template: str, person: Person | None, *, status: int = HTTPStatus.OK, **context: Any
) -> HTMLResponse:
    """Draw `templates/desk/<template>`; `person` is None on the pages before signing in."""
    places = [place for place in PLACES if person and person.may(place.role)]
    frame = {"person": person, "places": places, "here": request.url.path}
    return templates.TemplateResponse(request, f"desk/{template}", frame | context, status_code=status)


def when(moment: datetime | None) -> str:
    return "–" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def ago(moment: datetime | None) -> str:
    """How long since: `40 s`, `12 min`, `3 h`, `5 d`."""
    if moment is None:
        return "–"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


templates.env.filters |= {"when": when, "ago": ago, "number": number, "percent": percent}
