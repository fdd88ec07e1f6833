"""Which model answers and which waits to, what is known of each, and the levers: promote and roll back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from pipeline.adapters.registry import CHALLENGER
from pipeline.errors import ObjectStoreUnavailable
from pipeline.moderate import CHAMPION
from pipeline.people import Role
from workers.web.desk.markdown import to_html
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

router = APIRouter(prefix="/models", include_in_schema=False)

Lead = Annotated[Person, Depends(require(Role.LEAD))]
Admin = Annotated[Person, Depends(require(Role.ADMIN))]
Reason = Annotated[str, Form(min_length=1, max_length=500)]


@router.get("", response_class=HTMLResponse)
def versions(request: Request, deps: Deps, person: Lead) -> HTMLResponse:
    with deps.stores.transaction() as transaction:
        aliases = transaction.versions.aliases()
        published, moves = transaction.model_history.published(), transaction.model_history.moves()
    return render(
        request,
        "models.html",
        person,
        published=published,
        moves=moves,
        champion=aliases.get(CHAMPION),
        challenger=aliases.get(CHALLENGER),
    )


@router.get("/{name}", response_class=HTMLResponse)
def version(request: Request, deps: Deps, person: Lead, name: str) -> HTMLResponse:
    with deps.stores.transaction() as transaction:
        found, model = transaction.model_history.get(name), transaction.versions.get(name)
        aliases = [alias for alias, pointed in transaction.versions.aliases().items() if pointed == name]
    try:
        text = deps.registry.card_text(model)
    except ObjectStoreUnavailable:  # the rest of the page needs no bucket
        text = None
    return render(
        request,
        "model.html",
        person,
        model=found,
        aliases=aliases,
        gate=found.card.get("gate"),
        facts=facts(found.card),
        card_text=text and to_html(text),
    )


@router.post("/promote")
def promote(deps: Deps, person: Admin, version: Annotated[str, Form(min_length=1)], reason: Reason) -> RedirectResponse:
    """Every upload from now on is scored with it."""
    deps.registry.promote(version, actor=person.name, reason=_said(reason))
    return RedirectResponse("/models", HTTPStatus.SEE_OTHER)


@router.post("/rollback")
def rollback(
    deps: Deps, person: Admin, champion: Annotated[str, Form(min_length=1)], reason: Reason
) -> RedirectResponse:
    """Bring back the champion before `champion`; refused where that is not the champion any more."""
    if deps.registry.aliases().get(CHAMPION) != champion:
        raise HTTPException(HTTPStatus.CONFLICT, f"{champion} is not the champion any more: look again.")
    deps.registry.rollback(actor=person.name, reason=_said(reason))
    return RedirectResponse("/models", HTTPStatus.SEE_OTHER)


def facts(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The card's own facts, without what has a place of its own on the page."""
    shown = {name: value for name, value in card.items() if name not in {"gate", "files", "tried"}}
    return [(name.replace("_", " "), _plain(value)) for name, value in shown.items()]


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _said(reason: str) -> str:
    if not reason.strip():
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "Say why.")
    return reason.strip()
