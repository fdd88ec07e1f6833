"""`lenswatch erase`: everything that is known of an uploader, an object or of bytes."""

from __future__ import annotations

import getpass
import json
import re
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.erase import ErasureReport, Subject, SubjectKind
from pipeline.erase import erase as erase_subject
from pipeline.erase import survey as survey_subject
from pipeline.settings import Settings
from workers.bootstrap import Dependencies


def erase(
    uploader: Annotated[str | None, typer.Option(help="Id of an uploader: all of theirs.")] = None,
    object_key: Annotated[str | None, typer.Option("--object", help="Key of an object: all its versions.")] = None,
    bucket: Annotated[str | None, typer.Option(help="Of the object [the first configured one].")] = None,
    content: Annotated[str | None, typer.Option(help="SHA-256 of bytes, whoever uploaded them.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Annotated[str | None, typer.Option(help="Who decides this; it is written down [your user name].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Erase what Lenswatch knows, and search for what is left of it. Exits with 1 if something is.

    Your own objects in the upload buckets are yours to delete: before this, so that nobody announces them again.
    """
    settings = Settings()
    subject = subject_of(uploader, object_key, bucket or settings.s3.buckets[0], content)
    with Dependencies(settings) as deps:
        if dry_run or not yes:
            report = survey_subject(deps.erasure, subject)
            if dry_run or not as_json:
                _show(report, as_json=as_json)
            if dry_run:
                return
            _confirm()
        report = erase_subject(deps.erasure, subject, actor=actor or getpass.getuser())
    _show(report, as_json=as_json)
    raise typer.Exit(0 if report.complete else 1)


def subject_of(uploader: str | None, object_key: str | None, bucket: str, content: str | None) -> Subject:
    given = [value for value in (uploader, object_key, content) if value]
    if len(given) != 1:
        raise typer.BadParameter("give one of --uploader, --object, --content")
    if uploader:
        return Subject(SubjectKind.UPLOADER, uploader)
    if object_key:
        return Subject(SubjectKind.OBJECT, object_key, bucket)
    if not re.fullmatch(r"[0-9a-f]{64}", given[0].lower()):
        raise typer.BadParameter("a SHA-256 has 64 hexadecimal digits", param_hint="--content")
    return Subject(SubjectKind.CONTENT, given[0].lower())


def _confirm() -> None:
    if not _is_terminal():
        raise typer.BadParameter("nobody is there to be asked: say --yes")
    typer.confirm("Erase this? It cannot be undone.", abort=True, err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _show(report: ErasureReport, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_json()))
        return
    console = Console()
    table = Table("where", "to erase" if report.erasure_id is None else "erased")
    for place, count in report.counts.items():
        table.add_row(place, str(count))
    console.print(table)
    if report.shared:
        console.print(f"{len(report.shared)} images stay, as bytes: somebody else uploaded them too.")
    for use in report.models:
        console.print(f"{use['model']} ({use['alias'] or 'no alias'}) had used {use['images']} of them: {use['side']}.")
    if report.models:
        console.print(
            "A refit without them is the next night's; `lenswatch models rollback` takes a champion back now."
        )
    if report.erasure_id is not None:
        found = ", ".join(f"{place} ({hits})" for place, hits in report.remaining.items())
        console.print(f"Erasure {report.erasure_id}: " + (f"still found in {found}" if found else "nothing is left"))
