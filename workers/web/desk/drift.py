"""What drifted, when, and by how much more than chance: every statistic over time, with its limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from pipeline.people import Role
from pipeline.store.drift_history import SavedSnapshot
from workers.web.desk.charts import Series, lines
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

router = APIRouter(include_in_schema=False)

NAMES = {
    "log_likelihood_psi": "Log-likelihood: shift of its distribution (PSI)",
    "log_likelihood_wasserstein": "Log-likelihood: Wasserstein distance",
    "ai_probability_psi": "AI probability: shift of its distribution (PSI)",
    "not_camera_share": "Share called “not camera”",
    "flagged_share": "Share called “not camera” or “unsure”",
    "exif_make_psi": "Camera makes: shift (PSI)",
    "exif_missing_psi": "Images without a make: shift (PSI)",
    "format_psi": "File formats: shift (PSI)",
}
"""Statistic -> what it says, in the order of the page."""


@dataclass(frozen=True, slots=True)
class Plot:
    title: str
    picture: Markup
    latest: dict[str, Any]
    """The newest window's fields of `pipeline.drift.Statistic`."""


@router.get("/drift", response_class=HTMLResponse)
def drift(
    request: Request,
    deps: Deps,
    person: Annotated[Person, Depends(require(Role.LEAD))],
    surface: Annotated[str | None, Query(max_length=64)] = None,
    days: Annotated[int, Query(ge=1, le=365)] = 7,
) -> HTMLResponse:
    """Alerts of every surface; with `surface`, its statistics over time."""
    since = deps.clock.now() - timedelta(days=days)
    with deps.stores.transaction() as transaction:
        surfaces = transaction.drift_history.surfaces()
        alerted = transaction.drift_history.alerted(since)
        snapshots = transaction.drift_history.of(surface, since) if surface else []
    return render(
        request,
        "drift.html",
        person,
        surfaces=surfaces,
        surface=surface,
        days=days,
        alerted=alerted,
        snapshots=snapshots,
        plots=plots(snapshots),
    )


def plots(snapshots: Sequence[SavedSnapshot]) -> list[Plot]:
    """One of each statistic that any of the windows has, the known ones first."""
    found = {name for snapshot in snapshots for name in snapshot.statistics}
    ordered = [name for name in NAMES if name in found] + sorted(found - NAMES.keys())
    return [_plot(name, snapshots) for name in ordered]


def _plot(name: str, snapshots: Sequence[SavedSnapshot]) -> Plot:
    told = [(snapshot.start, snapshot.statistics.get(name, {})) for snapshot in snapshots]
    series = [
        Series("value", [(start, statistic.get("value")) for start, statistic in told]),
        Series("limit", [(start, statistic.get("limit")) for start, statistic in told]),
    ]
    top = 1.05 * max((value for one in series for _, value in one.points if value is not None), default=1.0)
    beyond = sum(_is_beyond(statistic) for _, statistic in told)
    measured = sum(statistic.get("value") is not None for _, statistic in told)
    title = NAMES.get(name, name)
    desc = f"{title}: measured in {measured} of {len(told)} windows, beyond its limit in {beyond}."
    return Plot(title, lines(series, title=title, desc=desc, limits=(0, top or 1.0)), dict(told[-1][1]))


def _is_beyond(statistic: Mapping[str, Any]) -> bool:
    value, limit = statistic.get("value"), statistic.get("limit")
    return value is not None and limit is not None and value > limit
