"""Read every image of a folder once: pixels, header and signs, as rows of the manifest."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.decode import decode
from pipeline.encoder.data import PATCH, SUFFIXES
from pipeline.encoder.tags import ORDER
from pipeline.errors import RejectedUpload, RejectReason
from pipeline.exif import INTEGER_TAGS, REAL_TAGS, TEXT_TAGS
from pipeline.patches import NotApplicable
from pipeline.ports import ExifReader
from pipeline.records import NotApplicableReason
from pipeline.scan.duplicates import Fingerprint, find_duplicates, fingerprint
from pipeline.scan.signs import FLAGS, JpegFacts, flags_of, jpeg_facts
from pipeline.settings import LimitSettings

Row = dict[str, str]

TAG_COLUMNS = (*TEXT_TAGS, *INTEGER_TAGS, *REAL_TAGS)
COLUMNS = (
    *("file", "sha256", "duplicate_of", "flags", "source_repo", "make", "model", "width", "height", "jpeg_quality"),
    *TAG_COLUMNS,
)
_ALWAYS_OURS = ("sha256", "duplicate_of", "flags")
"""Columns in which an older manifest is not believed."""

USUAL_PHOTOGRAPHS, USUAL_SHARE = 5, 0.8
"""From how many files of a model, and which share of them alike, its kind of quantisation table is its usual one."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that training could not use."""

    file: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    rows: list[Row]
    """One per readable file, sorted by name: columns of `COLUMNS`, and those of an older manifest."""
    unreadable: list[Unreadable]
    passed_over: dict[str, int]
    """Suffix -> files that training does not read, or that the folder's manifest does not list."""
    duplicates: dict[str, tuple[str, str]]
    """File -> the file that is kept instead (the largest copy), and `exact` or `near`."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """One readable file."""

    row: Row
    pixels: int
    print: Fingerprint
    jpeg: JpegFacts | None
    flags: set[str] = field(default_factory=set)


Track = Callable[[Sequence[Row]], Iterable[Row]]


def scan_folder(folder: Path, reader: ExifReader, limits: LimitSettings, track: Track = lambda rows: rows) -> Scan:
    """Everything about `folder`; `track` may show how far the reading is.

    Where there is a manifest.csv, its rows say which files there are, and its columns go before what the files say.
    """
    known, passed_over = _listed(folder)
    readings: list[_Reading] = []
    unreadable: list[Unreadable] = []
    for row in track(known):
        try:
            readings.append(_read(folder, row, reader, limits))
        except RejectedUpload as error:
            unreadable.append(Unreadable(row["file"], error.reason.value, error.detail))
        except NotApplicable as error:
            unreadable.append(Unreadable(row["file"], error.reason.value, f"a side is under {PATCH} px"))
    # The largest copy of a photograph is kept, then the one of the highest quality.
    readings.sort(key=lambda reading: (-reading.pixels, -int(reading.row["jpeg_quality"] or 100), reading.row["file"]))
    _compare_tables(readings)
    duplicates = {
        readings[number].row["file"]: (readings[first].row["file"], kind)
        for number, (first, kind) in find_duplicates([reading.print for reading in readings]).items()
    }
    for reading in readings:
        reading.row["flags"] = " ".join(flag for flag in FLAGS if flag in reading.flags)
        reading.row["duplicate_of"] = duplicates.get(reading.row["file"], ("", ""))[0]
    rows = sorted((reading.row for reading in readings), key=lambda row: row["file"])
    return Scan(rows, unreadable, passed_over, duplicates)


def write_manifest(rows: Iterable[Row], file: Path) -> None:
    """The CSV that `pipeline.encoder.data.read_folder` reads; columns of an older manifest are kept behind ours."""
    rows = list(rows)
    columns = dict.fromkeys((*COLUMNS, *(column for row in rows for column in row)))
    part = file.with_name(file.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(file)


def _listed(folder: Path) -> tuple[list[Row], dict[str, int]]:
    """Rows to read, sorted by file, and how many files of each suffix are passed over."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    manifest = folder / "manifest.csv"
    if manifest.exists():
        with manifest.open(newline="", encoding="utf-8") as lines:
            rows = [{k: v for k, v in row.items() if k and v} for row in csv.DictReader(lines)]
    else:
        rows = [{"file": file} for file in files if Path(file).suffix.lower() in SUFFIXES]
    others = files - {row["file"] for row in rows} - {"manifest.csv"}
    passed_over = Counter(Path(file).suffix.lower() or "no suffix" for file in others)
    return sorted(rows, key=lambda row: row["file"]), dict(sorted(passed_over.items()))


def _read(folder: Path, known: Row, reader: ExifReader, limits: LimitSettings) -> _Reading:
    path = folder / known["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RejectedUpload(RejectReason.OBJECT_MISSING, type(error).__name__) from error
    image = decode(content, limits)
    if min(image.height, image.width) < PATCH:
        raise NotApplicable(NotApplicableReason.TOO_SMALL)
    facts, raw = reader.read(content, image.format)
    jpeg = jpeg_facts(content) if image.format == "JPEG" else None
    tags = {name: str(value) for name, value in facts.tags.items()}
    digest = hashlib.sha256(content).hexdigest()
    found = {
        "source_repo": path.resolve().parent.name,
        "make": tags.get("Make", ""),
        "model": tags.get("Model", ""),
        "width": str(image.width),
        "height": str(image.height),
        "jpeg_quality": str(jpeg.quality) if jpeg else "",
        **tags,
    }
    row = {**found, **{name: value for name, value in known.items() if name not in _ALWAYS_OURS}, "sha256": digest}
    has_tags = any(row.get(name) for name, _ in ORDER)
    flags = set(flags_of(raw, has_tags, jpeg, (image.width, image.height)))
    return _Reading(row, image.width * image.height, fingerprint(digest, image.pixels), jpeg, flags)


def _compare_tables(readings: Iterable[_Reading]) -> None:
    """Flag files whose luma table (libjpeg's, or the camera's own) is of another kind than is usual for their model."""
    models: dict[tuple[str, str], list[tuple[_Reading, bool]]] = defaultdict(list)
    for reading in readings:
        if reading.jpeg and reading.row["model"]:
            key = reading.row["make"], reading.row["model"]
            models[key].append((reading, reading.jpeg.standard_table))
    for group in models.values():
        for reading in _unlike(group):
            reading.flags.add("table_unlike_camera")


def _unlike(group: Sequence[tuple[_Reading, bool]]) -> Iterator[_Reading]:
    standard = sum(is_standard for _, is_standard in group)
    usual = max(standard, len(group) - standard)
    if len(group) >= USUAL_PHOTOGRAPHS and usual >= USUAL_SHARE * len(group):
        yield from (reading for reading, is_standard in group if is_standard != (usual == standard))
