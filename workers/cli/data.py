"""`lenswatch data`: look at a folder of photographs before training on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from pipeline.adapters.exiftool import ExifToolReader
from pipeline.adapters.pillow_exif import PillowExifReader
from pipeline.ports import ExifReader
from pipeline.scan.folder import Row, Scan, scan_folder, write_manifest
from pipeline.scan.report import Report, Side, report, without
from pipeline.scan.signs import FLAGS
from pipeline.settings import LimitSettings, Settings

app = typer.Typer(no_args_is_help=True, help="Look at training data, and write the manifest that training reads.")


@app.callback()
def _several_commands() -> None:
    """Without a callback, Typer would make the only command the group itself."""


@app.command()
def scan(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of photographs with EXIF.")],
    manifest: Annotated[
        Path | None, typer.Option(help="Write the manifest here; training reads FOLDER/manifest.csv.")
    ] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="Keep files with this flag out of the manifest.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
) -> None:
    """Report tags, classes, split, duplicates, signs of re-encoding and editing, and files that cannot be read.

    Nothing is changed but the manifest that is asked for. Signs are no proof.
    """
    unwanted = leave_out or []
    if unknown := set(unwanted) - FLAGS.keys():
        raise typer.BadParameter(f"unknown flag {sorted(unknown)}; there are {', '.join(FLAGS)}")
    limits = Settings().limits
    with _exif_reader(limits) as reader:
        found = scan_folder(folder, reader, limits, _tracked)
    if not found.rows:
        raise typer.BadParameter(f"{folder} holds no readable image")
    rows = without(found.rows, unwanted)
    summary = report(found, rows)
    if as_json:
        typer.echo(json.dumps({**asdict(summary), **_files(found)}))
    else:
        _print(found, summary)
    if manifest:
        write_manifest(rows, manifest)
        Console(stderr=True).print(f"{len(rows)} rows written to {manifest}", markup=False)


@contextmanager
def _exif_reader(limits: LimitSettings) -> Iterator[ExifReader]:
    if shutil.which("exiftool"):
        with ExifToolReader(timeout=limits.exiftool_timeout) as reader:
            yield reader
    else:
        Console(stderr=True).print("ExifTool is not installed: Pillow reads the headers, with fewer tags")
        yield PillowExifReader()


def _tracked(rows: Sequence[Row]) -> Iterable[Row]:
    console = Console(stderr=True)
    return track(rows, "Reading photographs", console=console, disable=not console.is_terminal)


def _files(found: Scan) -> dict[str, object]:
    """Which files they are that the report counts."""
    return {
        "unreadable_files": [asdict(file) for file in found.unreadable],
        "duplicate_files": [
            {"file": file, "duplicate_of": first, "kind": kind} for file, (first, kind) in found.duplicates.items()
        ],
        "flagged_files": {row["file"]: row["flags"].split() for row in found.rows if row["flags"]},
    }


def _print(found: Scan, summary: Report) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no edge to keep to
    console.print(_counts(summary), _tags(summary))
    for title, counts in (("signs", summary.flags), ("passed over", summary.passed_over)):
        if counts:
            table = Table(title, "files", *(["says"] if counts is summary.flags else []))
            for name, count in counts.items():
                table.add_row(Text(name), str(count), *([FLAGS[name]] if counts is summary.flags else []))
            console.print(table)
    for file in found.unreadable:
        console.print(Text(f"{file.file}: {file.reason} {file.detail}".rstrip(), style="red"))
    for warning in summary.warnings:
        console.print(Text(f"! {warning}", style="yellow"))


def _counts(summary: Report) -> Table:
    table = Table("", "photographs", "sources", "camera models")
    everything = Side(summary.photographs, summary.sources, summary.cameras)
    sides = {"all": everything, "to fit on": summary.fit, "held out": summary.held_out}
    for name, side in sides.items():
        table.add_row(name, str(side.photographs), str(side.sources), str(side.cameras))
    duplicates = ", ".join(f"{count} {kind}" for kind, count in summary.duplicates.items()) or "none"
    table.caption = (
        f"{summary.files} files; duplicates left out: {duplicates}; left out by flag: {summary.left_out}; "
        f"unreadable: {sum(summary.unreadable.values())}"
    )
    return table


def _tags(summary: Report) -> Table:
    table = Table("tag", "photographs", "share", "classes", "most frequent")
    for tag in summary.tags:
        share = f"{tag.photographs / summary.photographs:.0%}" if summary.photographs else "-"
        classes = "ranked" if tag.classes is None else str(len(tag.classes))
        top = ", ".join(f"{value} ({count})" for value, count in list((tag.classes or {}).items())[:3])
        table.add_row(tag.name, str(tag.photographs), share, classes, Text(top))
    return table
