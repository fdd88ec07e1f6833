"""Raw tags -> `ExifFacts`: what of a header is kept, and in which shape.

Raw tags are ExifTool's, group-prefixed (`-G -n`), whichever reader read them. Only the camera settings below are
taken over; GPS, serial numbers, owners and comments have no name here. Text is made fit for Postgres, logs and pages;
numbers are finite.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any, Literal

from pipeline.records import ExifFacts

TEXT_LIMIT = 200
"""Characters of a text tag that are kept; the longest real Software tags are near 100."""

MAX_WARNINGS = 20
"""Kept of what a reader says about a file: a directory of 65 535 broken tags has as many."""

TEXT_TAGS = ("Make", "Model", "LensModel", "Software", "DateTimeOriginal")
INTEGER_TAGS = (
    "FocalLengthIn35mmFormat",  # mm
    "ISO",
    "Flash",
    "MeteringMode",
    "ExposureMode",
    "ExposureProgram",
    "WhiteBalance",
    "SceneCaptureType",
    "LightSource",
    "Orientation",
    "ColorSpace",
)
REAL_TAGS = (
    "FocalLength",  # mm
    "FNumber",
    "ApertureValue",  # f-number, converted from APEX, like the next
    "MaxApertureValue",
    "ExposureTime",  # s
    "ShutterSpeedValue",  # s, converted from APEX
    "BrightnessValue",  # APEX
    "ExposureCompensation",  # EV
    "SubjectDistance",  # m
)

_UNFIT_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control (NUL, which Postgres refuses), format (bidirectional overrides), lone surrogates, line separators."""


def exif_facts(
    raw: Mapping[str, Any], reader: Literal["exiftool", "pillow"], warnings: tuple[str, ...] = ()
) -> ExifFacts:
    """Pick and clean the camera settings. Never raises: a value of the wrong kind is left out, with a warning."""
    tags: dict[str, str | float | int] = {}
    said = [*warnings, *(str(raw[key]) for key in ("ExifTool:Warning", "ExifTool:Error") if key in raw)]
    for name in (*TEXT_TAGS, *INTEGER_TAGS, *REAL_TAGS):
        value = raw.get(f"EXIF:{name}")
        if value is None:
            continue
        clean = clean_text(value) if name in TEXT_TAGS else _number(value, whole=name in INTEGER_TAGS)
        if clean is None:
            said.append(f"{name}: not a finite number")
        elif clean != "":
            tags[name] = clean
    return ExifFacts(tags=tags, reader=reader, warnings=tuple(map(clean_text, said[:MAX_WARNINGS])))


def clean_text(value: object) -> str:
    """One line without control, format and surrogate characters, without space at its ends, cut to `TEXT_LIMIT`."""
    text = str(value)[: 4 * TEXT_LIMIT]
    return "".join(c for c in text if unicodedata.category(c) not in _UNFIT_CATEGORIES).strip()[:TEXT_LIMIT].rstrip()


def _number(value: object, *, whole: bool) -> float | int | None:
    """The value, or of several values the first, as a finite number; else None."""
    try:
        number = float(str(value).split()[0])
    except (ValueError, IndexError):
        return None
    if not math.isfinite(number) or abs(number) > 1e15:
        return None
    return round(number) if whole else number
