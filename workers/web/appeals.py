"""Appeals: a platform passes on that somebody thinks a verdict is wrong."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.errors import NotFound
from pipeline.people import KeyRole
from pipeline.records import ItemState, Label
from pipeline.review.appeals import appeal
from pipeline.review.items import Appeal
from pipeline.store import Transaction
from workers.web.auth import require_key
from workers.web.problems import documented
from workers.web.state import Deps

router = APIRouter(
    prefix="/v1/appeals",
    tags=["appeals"],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
)
Sender = Annotated[str, Depends(require_key(KeyRole.SENDER))]


class AppealRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    event_id: str | None = Field(default=None, max_length=200, description="Its newest upload is meant.")
    upload_id: int | None = None
    statement: str = Field(min_length=1, max_length=4000, description="What the person says; reviewers read it.")
    appellant: str | None = Field(default=None, max_length=200, description="Opaque to Lenswatch.")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.event_id is None) is (self.upload_id is None):
            raise ValueError("give either event_id or upload_id")
        return self


class AppealAnswer(BaseModel):
    """Where an appeal stands. Who reviews it is nobody's business."""

    id: int
    upload_id: int
    state: ItemState
    outcome: Label | None
    """What people decided about the image; null while they have not."""
    created_at: datetime
    decided_at: datetime | None


@router.post("", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.CONFLICT))
def open_appeal(asked: AppealRequest, sender: Sender, deps: Deps) -> AppealAnswer:
    """Have a person look again who has not judged the image before. One appeal for each verdict."""
    with deps.stores.transaction() as transaction:
        opened = appeal(
            transaction,
            _upload_of(transaction, asked),
            statement=asked.statement,
            appellant=asked.appellant,
            submitted_by=sender,
            settings=deps.settings,
        )
    return _answer(opened)


@router.get("/{appeal_id}", dependencies=[Depends(require_key(KeyRole.SENDER))])
def appeal_by_id(appeal_id: int, deps: Deps) -> AppealAnswer:
    """Where it stands."""
    with deps.stores.transaction() as transaction:
        return _answer(transaction.appeals.get(appeal_id))


def _upload_of(transaction: Transaction, asked: AppealRequest) -> int:
    if asked.upload_id is not None:
        return asked.upload_id
    uploads = transaction.uploads.find(asked.event_id or "")
    if not uploads:
        raise NotFound(f"no upload has the event id {asked.event_id!r}")
    return uploads[0].id


def _answer(found: Appeal) -> AppealAnswer:
    return AppealAnswer(
        id=found.id,
        upload_id=found.upload_id,
        state=found.state,
        outcome=found.outcome,
        created_at=found.created_at,
        decided_at=found.decided_at,
    )
