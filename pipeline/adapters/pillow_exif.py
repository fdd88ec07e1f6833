"""`ExifReader` by Pillow: fewer tags than ExifTool's, in ExifTool's names and units."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from PIL import ExifTags, Image

from pipeline.decode import DECODER_ERRORS, register_heif
from pipeline.exif import clean_text, exif_facts
from pipeline.records import ExifFacts

_EXIFTOOL_NAMES = {
    "ISOSpeedRatings": "ISO",
    "ExposureBiasValue": "ExposureCompensation",
    "FocalLengthIn35mmFilm": "FocalLengthIn35mmFormat",
}
_FROM_APEX: dict[str, Callable[[float], float]] = {
    "ApertureValue": lambda value: 2 ** (value / 2),
    "MaxApertureValue": lambda value: 2 ** (value / 2),
    "ShutterSpeedValue": lambda value: 2**-value,
}
_XMP_VALUE = re.compile(rb"(CreatorTool|DigitalSourceType|Credit)(?:>|=[\"'])([^<\"']{1,300})")
"""An XMP property as element or attribute. Not an XML parser: entity bombs stay text."""


class PillowExifReader:
    """Stands in for ExifTool; the facts say so."""

    def read(self, content: bytes, format: str, *, warning: str = "") -> tuple[ExifFacts, Mapping[str, Any]]:
        said = [warning] if warning else []
        raw: dict[str, Any] = {}
        if format == "HEIF":
            register_heif()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                with Image.open(io.BytesIO(content), formats=[format]) as image:
                    raw.update(_text_chunks(image))
                    raw.update(_exif_tags(image.getexif()))
            except DECODER_ERRORS as error:
                said.append(f"metadata unreadable: {type(error).__name__}")
        said.extend(str(item.message) for item in caught)
        return exif_facts(raw, "pillow", tuple(said)), raw


def _exif_tags(exif: Image.Exif) -> Iterator[tuple[str, Any]]:
    for number, value in [*exif.items(), *exif.get_ifd(ExifTags.IFD.Exif).items()]:
        name = ExifTags.TAGS.get(number)
        if name is None or isinstance(value, bytes):
            continue
        first = value[0] if isinstance(value, tuple) and value else value
        if isinstance(first, str):  # Pillow takes every byte for a Latin-1 character; cameras write ASCII or UTF-8
            first = first.split("\0")[0].encode("latin-1", "replace").decode("utf-8", "replace")
        yield f"EXIF:{_EXIFTOOL_NAMES.get(name, name)}", _FROM_APEX[name](float(first)) if name in _FROM_APEX else first


def _text_chunks(image: Image.Image) -> Iterator[tuple[str, Any]]:
    if image.format == "PNG":
        for key, value in image.info.items():
            if isinstance(key, str) and isinstance(value, str):
                yield f"PNG:{key[:1].upper()}{key[1:]}", value
    xmp = image.info.get("xmp", b"")
    for name, value in _XMP_VALUE.findall(xmp if isinstance(xmp, bytes) else str(xmp).encode()):
        yield f"XMP:{name.decode()}", clean_text(value.decode("utf-8", "replace"))
