"""Find an upload: by object key, uploader, event or bytes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from pipeline.people import Role
from pipeline.store import Transaction
from pipeline.store.search import FoundUpload
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

PAGE = 50

router = APIRouter(include_in_schema=False)


class By(StrEnum):
    KEY = "key"
    UPLOADER = "uploader"
    EVENT = "event"
    SHA256 = "sha256"


@router.get("/search", response_class=HTMLResponse)
def search(
    request: Request,
    deps: Deps,
    person: Annotated[Person, Depends(require(Role.VIEWER))],
    by: By = By.KEY,
    q: Annotated[str, Query(max_length=1024, pattern=r"^[^\x00]*$")] = "",
    bucket: Annotated[str, Query(max_length=255, pattern=r"^[^\x00]*$")] = "",
    after: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """The form, and what it found; nothing is looked up before something is asked."""
    buckets = deps.settings.s3.buckets
    bucket = bucket or buckets[0]
    found: list[FoundUpload] = []
    if q:
        with deps.stores.transaction() as transaction:
            found = _find(transaction, by, q, bucket, after)
    following = None
    if len(found) > PAGE:
        found = found[:PAGE]
        following = "/search?" + urlencode({"by": by.value, "q": q, "bucket": bucket, "after": found[-1].id})
    return render(
        request, "search.html", person, by=by, q=q, bucket=bucket, buckets=buckets, found=found, following=following
    )


def _find(transaction: Transaction, by: By, q: str, bucket: str, after: int) -> list[FoundUpload]:
    """A page, and one more where another follows."""
    limit = PAGE + 1
    match by:
        case By.KEY:
            return transaction.search.by_key(bucket, q, after=after, limit=limit)
        case By.UPLOADER:
            return transaction.search.by_uploader(q, after=after, limit=limit)
        case By.EVENT:
            return transaction.search.by_event(q, after=after, limit=limit)
        case By.SHA256:
            return transaction.search.by_sha256(q.strip().lower(), after=after, limit=limit)
