"""Signs that a file is not as its camera wrote it. Signs, not proof: some cameras write JFIF, and phones resize.

All of them come from the header: quantisation tables, markers, EXIF and program names.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image

from pipeline.decode import jpeg_picture
from pipeline.provenance import find_claims

LOW_QUALITY = 85
"""Estimated JPEG quality under which a camera's own file is unusual; platforms and messengers re-encode at 70-85."""

FLAGS = {
    "no_exif": "none of the 14 tags",
    "low_quality": f"JPEG quality under {LOW_QUALITY}",
    "resized": "EXIF states another pixel size",
    "jfif": "JFIF marker beside EXIF",
    "progressive": "progressive JPEG",
    "table_unlike_camera": "quantisation table of another kind than this model's other files",
    "raw_converter": "names a raw converter",
    "editor": "names an image editor",
    "generator": "names an AI generator or a synthetic source",
}
"""Flag -> what it says, in the order of the report."""

_SOFTWARE_TAGS = (
    "EXIF:Software",
    "EXIF:ProcessingSoftware",
    "IPTC:OriginatingProgram",
    "PNG:Software",
    "XMP:CreatorTool",
    "XMP:HistorySoftwareAgent",
    "XMP:Software",
)
_RAW_CONVERTERS = re.compile(
    r"lightroom|camera raw|capture one|darktable|rawtherapee|\bdxo\b|digital photo professional|capture nx"
    r"|\bnx studio\b|ufraw|silkypix",
    re.IGNORECASE,
)
_EDITORS = re.compile(
    r"photoshop|\bgimp\b|snapseed|picasa|paint\.net|paint ?shop|affinity|pixelmator|facetune|meitu|beauty|\bvsco\b"
    r"|polarr|canva|picsart|luminar|acdsee|photoscape|\bfotor\b|pixlr|irfanview|xnview|imagemagick|graphicsmagick"
    r"|microsoft windows photo|krita|corel|instagram",
    re.IGNORECASE,
)
_SYNTHETIC_SOURCES = {
    *("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "algorithmicMedia", "compositeSynthetic"),
    *("virtualRecording", "digitalCreation", "digitalArt", "softwareImage", "screenCapture"),
}
"""IPTC digital source types of pictures that a program made, in whole or in part."""


@dataclass(frozen=True, slots=True)
class JpegFacts:
    """How a JPEG is coded."""

    quality: int
    """1-100, of libjpeg's scale; an estimate where the table is the encoder's own."""
    standard_table: bool
    """Whether the luma table is libjpeg's at some quality: then any program may have written it."""
    progressive: bool
    jfif: bool


def jpeg_facts(content: bytes) -> JpegFacts | None:
    """Of a JPEG that decodes; None for one that has no table before its picture (odd, but decoders take it)."""
    with Image.open(io.BytesIO(jpeg_picture(content)[0]), formats=["JPEG"]) as image:
        if not image.quantization:  # type: ignore[attr-defined]  # JpegImageFile has it
            return None
        table = tuple(image.quantization[min(image.quantization)])  # type: ignore[attr-defined]
        progressive, jfif = bool(image.info.get("progressive")), "jfif" in image.info
    standard = _standard_tables()
    nearest = min(standard, key=lambda known: abs(sum(known) - sum(table)))
    return JpegFacts(standard[nearest], table in standard, progressive, jfif)


@cache
def _standard_tables() -> dict[tuple[int, ...], int]:
    """libjpeg's luma table -> its quality, asked of libjpeg itself."""
    tables = {}
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
        with Image.open(file) as image:
            tables[tuple(image.quantization[0])] = quality  # type: ignore[attr-defined]
    return tables


def flags_of(raw: Mapping[str, Any], has_tags: bool, jpeg: JpegFacts | None, size: tuple[int, int]) -> Iterator[str]:
    """Names from `FLAGS` that one file alone gives reason for. `raw`: all tags as read; `size`: width, height."""
    if not has_tags:
        yield "no_exif"
    if jpeg and jpeg.quality < LOW_QUALITY:
        yield "low_quality"
    stated = tuple(str(raw.get(f"EXIF:ExifImage{side}", "")) for side in ("Width", "Height"))
    if all(side.isdigit() and int(side) for side in stated) and sorted(map(int, stated)) != sorted(size):
        yield "resized"  # sorted: a picture may have been turned without loss
    if jpeg and jpeg.jfif and has_tags:
        yield "jfif"
    if jpeg and jpeg.progressive:
        yield "progressive"
    yield from _programs(raw)


def _programs(raw: Mapping[str, Any]) -> Iterator[str]:
    names = [str(raw[tag])[:200] for tag in _SOFTWARE_TAGS if tag in raw]
    converters = [name for name in names if _RAW_CONVERTERS.search(name)]  # "Adobe Photoshop Lightroom" is no editor
    if converters:
        yield "raw_converter"
    if any(_EDITORS.search(name) for name in names if name not in converters):
        yield "editor"
    claims = find_claims(raw)
    if any(claim.kind == "generator" or claim.value in _SYNTHETIC_SOURCES for claim in claims):
        yield "generator"
