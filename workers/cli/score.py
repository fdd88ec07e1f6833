"""`lenswatch score`: the worker's stages in one process, over files and folders."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from pipeline.adapters.exiftool import ExifToolReader
from pipeline.decode import decode
from pipeline.errors import RejectedUpload, RejectReason
from pipeline.examine import Examiner, rejected
from pipeline.heatmap import draw_heatmap
from pipeline.ports import OneClassScorer
from pipeline.records import ModelVersion, StoredObject
from pipeline.release import Release
from pipeline.settings import LimitSettings, Settings
from pipeline.verdict import decide, policy_for
from workers.reports import CSV_COLUMNS, TABLE_COLUMNS, as_csv_row, as_json, as_table_row

Answers = Iterable[dict[str, Any]]


def score(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders with everything in them.")],
    as_json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV, safe to open in a spreadsheet.")] = False,
    heatmap: Annotated[Path | None, typer.Option(help="Write a picture of each image's patches here.")] = None,
    release: Annotated[Path | None, typer.Option(help="Release folder [the shipped one].")] = None,
) -> None:
    """Say of each file whether a camera formed it. A signal, never proof.

    A file that cannot be scored gets its line too. The names of files do not matter, their bytes do.
    """
    if as_json_lines and as_csv:
        raise typer.BadParameter("--json or --csv, not both")
    settings = Settings()
    console = Console(stderr=True)
    with ExifToolReader(timeout=settings.limits.exiftool_timeout) as exif_reader:
        scoring = _scoring(settings, exif_reader, release or settings.detector.release, heatmap)
        files = list(_files(paths))
        answers = map(scoring.answer, track(files, "Scoring", console=console, disable=not console.is_terminal))
        _printer(as_json_lines, as_csv)(answers)


@dataclass(frozen=True, slots=True)
class _Scoring:
    examiner: Examiner
    model: ModelVersion
    scorer: OneClassScorer
    settings: Settings
    heatmap: Path | None

    def answer(self, file: Path) -> dict[str, Any]:
        try:
            stored = _read(file, self.settings.limits)
        except RejectedUpload as error:
            examination = rejected(error)
        else:
            examination = self.examiner.examine(stored, self.model, self.scorer)
            if self.heatmap and examination.score:
                picture = draw_heatmap(decode(stored.content, self.settings.limits), examination.score)
                picture.save(self.heatmap / f"{file.stem}.{stored.sha256[:8]}.png")
        verdict = decide(examination, policy_for(self.settings, "default"))
        return as_json(file, examination, verdict, self.model.name)


def _scoring(settings: Settings, exif_reader: ExifToolReader, folder: Path, heatmap: Path | None) -> _Scoring:
    from pipeline.adapters.local import LocalDetector  # torch, only here

    release = Release.open(folder)
    examiner = Examiner(exif_reader, LocalDetector(folder, settings.detector.trunk), settings.limits)
    if heatmap:
        heatmap.mkdir(parents=True, exist_ok=True)
    return _Scoring(examiner, release.as_version(), release.scorer(), settings, heatmap)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files named and those in the folders named, but for hidden ones. What does not exist is passed on as well."""
    for path in paths:
        if path.is_dir():
            inside = (file for file in sorted(path.rglob("*")) if file.is_file())
            yield from (f for f in inside if not any(part.startswith(".") for part in f.relative_to(path).parts))
        else:
            yield path


def _read(file: Path, limits: LimitSettings) -> StoredObject:
    if not file.is_file():
        raise RejectedUpload(RejectReason.OBJECT_MISSING, "no such file")
    try:
        with file.open("rb") as opened:
            content = opened.read(limits.max_bytes + 1)
    except OSError as error:
        raise RejectedUpload(RejectReason.OBJECT_MISSING, type(error).__name__) from error
    if len(content) > limits.max_bytes:
        raise RejectedUpload(RejectReason.TOO_LARGE, f"over {limits.max_bytes} bytes")
    return StoredObject(content=content, sha256=hashlib.sha256(content).hexdigest())


def _printer(as_json_lines: bool, as_csv: bool) -> Callable[[Answers], None]:
    return _print_json if as_json_lines else _print_csv if as_csv else _print_table


def _print_json(answers: Answers) -> None:
    for answer in answers:
        typer.echo(json.dumps(answer, allow_nan=False))


def _print_csv(answers: Answers) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(map(as_csv_row, answers))


def _print_table(answers: Answers) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no edge to keep to
    table = Table(*TABLE_COLUMNS)
    for answer in answers:
        table.add_row(*map(Text, as_table_row(answer)))  # Text: a file name is no markup
    console.print(table)
