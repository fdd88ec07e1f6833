"""Folders of labelled images: which files count, and the camera make or generator that each goes by."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".avif", ".tif", ".tiff"}

Label = Literal["real", "ai"]
LABELS: tuple[Label, ...] = ("real", "ai")

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LabelledImage:
    path: Path
    name: str
    """Relative to the folder, with forward slashes."""
    group: str | None
    """Camera make of a photograph, generator of an AI image; None where only a photograph's EXIF may say it."""
    source: str = ""
    """Repository, or shoot, that it comes from; images of one are alike. Empty where nobody says it."""


def list_images(folder: Path, label: Label) -> list[LabelledImage]:
    """Every image under `folder`, in the order of their names.

    Its `manifest.csv` (columns `file`, `source_repo` and `generator`, or `make`) says group and source; without one, an
    AI image goes by the first sub-folder it lies in.
    """
    rows, column = _manifest(folder / "manifest.csv"), "make" if label == "real" else "generator"
    found = []
    for path in sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES):
        inside = path.relative_to(folder)
        otherwise = None if label == "real" else inside.parts[0] if len(inside.parts) > 1 else UNKNOWN
        row = rows.get(inside.as_posix(), {})
        found.append(LabelledImage(path, inside.as_posix(), row.get(column) or otherwise, row.get("source_repo") or ""))
    return found


def _manifest(file: Path) -> Mapping[str, Mapping[str, str]]:
    """File -> its row."""
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as opened:
        return {row["file"]: row for row in csv.DictReader(opened)}
