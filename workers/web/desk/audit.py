"""Who did what to which thing, and the whole of it as a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import MAXYEAR, timedelta
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel, Field

from pipeline.people import Role
from pipeline.store.audit_log import AuditEntry, AuditFilter
from workers.bootstrap import Dependencies
from workers.reports import spreadsheet_safe
from workers.web.desk.days import day
from workers.web.desk.session import Person, require
from workers.web.desk.shell import render
from workers.web.state import Deps

router = APIRouter(prefix="/audit", include_in_schema=False)

Lead = Annotated[Person, Depends(require(Role.LEAD))]

PAGE = 100
BATCH = 1000
"""Entries of one query while the whole log is written out."""

COLUMNS = ("id", "created_at", "actor", "action", "subject", "detail")


class FileFormat(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


class Filters(BaseModel):
    """Of the page's form: an empty field means any."""

    actor: str = Field("", max_length=200)
    subject: str = Field("", max_length=400)
    since: str = Field("", max_length=10)
    until: str = Field("", max_length=10, description="The last day that counts.")

    def chosen(self) -> AuditFilter:
        last = day(self.until)
        end = last + timedelta(days=1) if last and last.year < MAXYEAR else None
        return AuditFilter(self.actor.strip() or None, self.subject.strip() or None, day(self.since), end)

    def said(self) -> dict[str, str]:
        return {name: value for name in Filters.model_fields if (value := getattr(self, name))}


class PageOf(Filters):
    before: int | None = Field(None, description="Number of the last entry of the page before.")


class Export(Filters):
    format: FileFormat


@router.get("", response_class=HTMLResponse)
def page(request: Request, deps: Deps, person: Lead, query: Annotated[PageOf, Query()]) -> HTMLResponse:
    with deps.stores.transaction() as transaction:
        entries = transaction.audit_log.page(query.chosen(), before=query.before, limit=PAGE)
    said = query.said()
    older = urlencode(said | {"before": str(entries[-1].id)}) if len(entries) == PAGE else None
    return render(request, "audit.html", person, entries=entries, said=said, older=older)


@router.post("/export")
def export(deps: Deps, person: Lead, form: Annotated[Export, Form()]) -> StreamingResponse:
    """Everything that the filters leave, oldest first, as it streams. That it was taken is written down before."""
    with deps.stores.transaction() as transaction:
        newest = transaction.audit_log.newest()
        transaction.audit_log.note_export(person.name, form.format.value, form.said())
    lines, media_type = _WRITERS[form.format]
    name = f"lenswatch-audit-{deps.clock.now():%Y%m%dT%H%M%SZ}.{form.format.value}"
    return StreamingResponse(
        lines(_batches(deps, form.chosen(), newest)),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _batches(deps: Dependencies, which: AuditFilter, newest: int) -> Iterator[Sequence[AuditEntry]]:
    """A transaction each: a slow reader holds none open."""
    after = 0
    while True:
        with deps.stores.transaction() as transaction:
            entries = transaction.audit_log.batch(which, after=after, up_to=newest, limit=BATCH)
        if not entries:
            return
        yield entries
        after = entries[-1].id


def _jsonl(batches: Iterator[Sequence[AuditEntry]]) -> Iterator[str]:
    for batch in batches:
        yield "".join(
            json.dumps({**asdict(entry), "created_at": entry.created_at.isoformat()}, ensure_ascii=False) + "\n"
            for entry in batch
        )


def _csv(batches: Iterator[Sequence[AuditEntry]]) -> Iterator[str]:
    yield _csv_text([COLUMNS])
    for batch in batches:
        yield _csv_text([_cells(entry) for entry in batch])


def _csv_text(rows: Sequence[Sequence[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def _cells(entry: AuditEntry) -> list[object]:
    detail = json.dumps(entry.detail, ensure_ascii=False)
    said = (entry.id, entry.created_at.isoformat(), entry.actor, entry.action, entry.subject, detail)
    return [spreadsheet_safe(cell) for cell in said]


_WRITERS: dict[FileFormat, tuple[Callable[[Iterator[Sequence[AuditEntry]]], Iterator[str]], str]] = {
    FileFormat.JSONL: (_jsonl, "application/x-ndjson"),
    FileFormat.CSV: (_csv, "text/csv; charset=utf-8"),
}
