"""Thresholds of each surface: what they are, what others would do, and who changed them when and why."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from pipeline.errors import NotFound
from pipeline.moderate import CHAMPION
from pipeline.people import Role
from pipeline.records import Label, SurfacePolicy, VerdictKind
from pipeline.store import SavedPolicy, Transaction
from pipeline.thresholds import SCORED, KnownCount, changed, dry_run, effect, tenths_of_percent, window_start
from pipeline.verdict import policy_for
from workers.bootstrap import Dependencies
from workers.recount import DAY
from workers.web.desk.p_values import p_value_chart
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

router = APIRouter(prefix="/thresholds", include_in_schema=False)

Lead = Annotated[Person, Depends(require(Role.LEAD))]
Surface = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Days = Annotated[int, Query(ge=1, le=365)]
Percent = Annotated[float | None, Query(gt=0, lt=100)]
PercentField = Annotated[float, Form(gt=0, lt=100)]


@dataclass(frozen=True, slots=True)
class InForce:
    """A surface as the list shows it."""

    surface: str
    policy: SurfacePolicy
    saved: SavedPolicy | None
    """None: the settings hold."""
    kinds: dict[VerdictKind, int]
    """Of the images that were scored lately."""

    @property
    def scored(self) -> int:
        return sum(self.kinds.values())

    def share(self, kind: VerdictKind) -> float | None:
        return self.kinds.get(kind, 0) / self.scored if self.scored else None


@router.get("", response_class=HTMLResponse)
def surfaces(request: Request, deps: Deps, person: Lead, days: Days = 1) -> HTMLResponse:
    settings = deps.settings
    with deps.stores.transaction() as transaction:
        names = sorted({"default", *settings.surfaces, *transaction.score_counts.surfaces()})
        saved = transaction.policies.newest()
        since = window_start(deps.clock.now(), days)
        kinds = transaction.score_counts.kinds(names, since)
    rows = [
        InForce(
            name,
            saved[name].policy if name in saved else policy_for(settings, name),
            saved.get(name),
            dict(kinds.get(name, {})),
        )
        for name in names
    ]
    return render(request, "thresholds.html", person, rows=rows, days=days, since=since, Kind=VerdictKind)


@router.get("/{surface}", response_class=HTMLResponse)
def surface(
    request: Request,
    deps: Deps,
    person: Lead,
    surface: Surface,
    not_camera: Percent = None,
    unsure: Percent = None,
    days: Days = 7,
) -> HTMLResponse:
    """Everything about one surface's thresholds; with `not_camera` and `unsure`, in percent, what these would do."""
    with deps.stores.transaction() as transaction:
        what_if = _what_if(deps, transaction, surface, (not_camera, unsure), days)
        history = transaction.policies.history(surface)
    return render(request, "threshold.html", person, history=history, **what_if)


@router.get("/{surface}/preview", response_class=HTMLResponse)
def preview(
    request: Request,
    deps: Deps,
    person: Lead,
    surface: Surface,
    not_camera: Percent = None,
    unsure: Percent = None,
    days: Days = 7,
) -> HTMLResponse:
    """The part of the page that follows the sliders."""
    with deps.stores.transaction() as transaction:
        what_if = _what_if(deps, transaction, surface, (not_camera, unsure), days)
    return render(request, "_threshold_preview.html", person, **what_if)


@router.post("/{surface}")
def save(
    deps: Deps,
    person: Lead,
    surface: Surface,
    not_camera: PercentField,
    unsure: PercentField,
    decisions_needed: Annotated[int, Form(ge=1, le=3)],
    reason: Annotated[str, Form(min_length=1, max_length=500)],
    instead_of: Annotated[int, Form(description="Number of the row that was in force; 0: the settings were.")],
) -> RedirectResponse:
    policy = _policy(not_camera, unsure, decisions_needed)
    if not reason.strip():
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "Say why.")
    with deps.stores.transaction() as transaction:
        transaction.policies.save(
            surface, policy, actor=person.name, reason=reason.strip(), instead_of=instead_of or None
        )
    return RedirectResponse(f"/thresholds/{surface}", HTTPStatus.SEE_OTHER)


def _policy(not_camera: float, unsure: float, decisions_needed: int) -> SurfacePolicy:
    """From percent; thresholds are whole tenths of them."""
    policy = tenths_of_percent(SurfacePolicy(not_camera / 100, unsure / 100, decisions_needed))
    if not 0 < policy.not_camera_fpr <= policy.unsure_fpr < 1:
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "“Unsure” must not end before “not camera” does; both lie between 0.1 and 99.9 %.",
        )
    return policy


def _what_if(
    deps: Dependencies,
    transaction: Transaction,
    surface: str,
    percents: tuple[float | None, float | None],
    days: int,
) -> dict[str, Any]:
    """What the templates show: the thresholds in force and the proposed ones, over the same window."""
    history = transaction.policies.history(surface, limit=1)
    in_force = tenths_of_percent(history[0].policy if history else policy_for(deps.settings, surface))
    not_camera, unsure = percents
    proposed = _policy(
        100 * in_force.not_camera_fpr if not_camera is None else not_camera,
        100 * in_force.unsure_fpr if unsure is None else unsure,
        in_force.decisions_needed,
    )
    now = deps.clock.now()
    since = window_start(now, days)
    counts = transaction.score_counts.of(surface, since)
    is_trusted = surface in deps.settings.retrain.trusted_surfaces
    known = transaction.quality.known(surface, since)
    if is_trusted:  # every upload is a photograph, whether somebody looked at it or not
        known = [one for one in known if one.label is Label.NOT_CAMERA]
        known += [KnownCount(count.p_bin, Label.CAMERA, count.count) for count in counts]
    calibrated_on = _calibrated_on(transaction)
    span = (now - since) / DAY
    effects = [effect(counts, known, policy, days=span, calibrated_on=calibrated_on) for policy in (in_force, proposed)]
    moves = dry_run(counts, proposed)
    return {
        "surface": surface,
        "days": days,
        "since": since,
        "saved": history[0] if history else None,
        "in_force": effects[0],
        "proposed": effects[1],
        "moves": moves,
        "changed": changed(moves),
        "scored": sum(moves.values()),
        "kinds": SCORED,
        "is_trusted": is_trusted,
        "calibrated_on": calibrated_on,
        "chart": p_value_chart(counts, proposed),
    }


def _calibrated_on(transaction: Transaction) -> int | None:
    """Calibration photographs of the champion, of the handling with the fewest: no promise is less certain.

    None where its card does not say.
    """
    try:
        card = transaction.versions.resolve(CHAMPION).card
    except NotFound:
        return None
    strata = card.get("calibration_photos_by_stratum", {})
    sizes = strata.values() if isinstance(strata, dict) else strata  # earlier refits wrote a list
    return min(filter(None, sizes), default=card.get("calibration_photos")) or None
