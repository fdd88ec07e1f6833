"""Answers: the verdict on an event, and where an upload stands."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from pipeline.errors import NotFound
from pipeline.people import KeyRole
from pipeline.records import Upload
from pipeline.review.items import Outcome
from pipeline.store import Transaction, VerdictView
from workers.web.auth import require_key
from workers.web.problems import documented
from workers.web.state import Deps

router = APIRouter(
    prefix="/v1",
    tags=["verdicts"],
    dependencies=[Depends(require_key(KeyRole.SENDER))],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
)


class EventAnswer(BaseModel):
    """What is known of an upload. `verdict` is null as long as no worker has come to it, or if it was given up on.

    `upload.event` is the event that announced the object first; where `upload.deleted_at` is set, the object is gone.
    """

    upload: Upload
    verdict: VerdictView | None
    review: Outcome | None
    """What people decided about the image, last; null while they have not."""


@router.get("/verdicts/{event_id:path}")
def verdict_of_event(event_id: str, deps: Deps) -> EventAnswer:
    """Answer to the newest upload that this event announced. An id that several senders used names several uploads."""
    with deps.stores.transaction() as transaction:
        uploads = transaction.uploads.find(event_id)
        if not uploads:
            raise NotFound(f"no upload has the event id {event_id!r}; a stream may still hold it")
        return _answer(transaction, uploads[0])


@router.get("/objects/{bucket}/{key:path}")
def verdict_of_object(bucket: str, key: str, deps: Deps) -> EventAnswer:
    """Answer to the object as it is now: its newest upload, in S3's order. 404, saying so, where it was deleted."""
    with deps.stores.transaction() as transaction:
        return _answer(transaction, transaction.uploads.newest(bucket, key))


@router.get("/uploads/{upload_id}")
def upload(upload_id: int, deps: Deps) -> EventAnswer:
    """An upload by its number in the ledger."""
    with deps.stores.transaction() as transaction:
        return _answer(transaction, transaction.uploads.get(upload_id))


def _answer(transaction: Transaction, upload: Upload) -> EventAnswer:
    return EventAnswer(
        upload=upload,
        verdict=transaction.verdicts.of_upload(upload.id),
        review=transaction.decisions.outcome_of(upload.id),
    )
