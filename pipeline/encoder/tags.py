"""The 14 EXIF tags of the pretext task (sdaie section 4), and their values as class numbers or ranks. No torch here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

MIN_PHOTOGRAPHS = 8
"""A value seen on fewer photographs than this is no class; it counts as missing."""
MAX_CLASSES = 40

_STEPS_PER_STOP = 10
"""Values closer than a tenth of a stop are ties: 1.8 and 1.80000000242677 are the same aperture."""

ORDER: tuple[tuple[str, Literal["class", "stops", "value"]], ...] = (
    ("FocalLength", "stops"),
    ("Make", "class"),
    ("FNumber", "stops"),
    ("ExposureTime", "stops"),
    ("ISO", "stops"),
    ("Model", "class"),
    ("Flash", "class"),
    ("BrightnessValue", "value"),  # APEX: in stops already
    ("MaxApertureValue", "stops"),  # as ExifTool prints it: an f-number
    ("MeteringMode", "class"),
    ("ExposureMode", "class"),
    ("WhiteBalance", "class"),
    ("ExposureCompensation", "value"),
    ("SceneCaptureType", "class"),
)
"""ExifTool's names, head by head: the same kinds in the same places as the authors'. "stops" are compared as log2."""

EXTRA = ("JpegQuantisation", "ChromaSubsampling")
"""Classes that only training knows (`compression`): how the file was compressed. They are not exported."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One head: `size` outputs. `classes` are header values as written; empty for a ranked tag."""

    name: str
    kind: Literal["class", "rank"]
    classes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return len(self.classes) or 1


def choose_tags(photographs: Sequence[Mapping[str, str]]) -> tuple[Tag, ...]:
    """The 14 tags with the class maps that `photographs` (one set of tags each) support."""
    return tuple(
        Tag(name, "class", _frequent_values(photographs, name)) if kind == "class" else Tag(name, "rank")
        for name, kind in ORDER
    )


def choose_extra_tags(photographs: Sequence[Mapping[str, str]]) -> tuple[Tag, ...]:
    """As `choose_tags`, the two of `EXTRA`."""
    return tuple(Tag(name, "class", _frequent_values(photographs, name)) for name in EXTRA)


def _frequent_values(photographs: Iterable[Mapping[str, str]], name: str) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for tags in photographs:
        if value := tags.get(name):
            counts[value] = counts.get(value, 0) + 1
    frequent = sorted((-count, value) for value, count in counts.items() if count >= MIN_PHOTOGRAPHS)
    return tuple(value for _, value in frequent[:MAX_CLASSES]) or ("",)


def labels(tags: Sequence[Tag], photographs: Sequence[Mapping[str, str]]) -> npt.NDArray[np.float32]:
    """(photographs, tags) float32: class numbers, or values in which order is meaningful; NaN is missing."""
    scales: dict[str, str] = dict.fromkeys(EXTRA, "class") | dict(ORDER)
    return np.array(
        [[_label(tag, scales[tag.name], values.get(tag.name)) for tag in tags] for values in photographs],
        np.float32,
    )


def _label(tag: Tag, scale: str, text: str | None) -> float:
    if text is None:
        return math.nan
    if tag.kind == "class":
        return tag.classes.index(text) if text in tag.classes else math.nan
    try:
        value = float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        return math.nan  # "undef", "inf", "0/0": written by some cameras
    if scale == "stops":
        if value <= 0:
            return math.nan  # 0 means unknown in all of these tags
        value = math.log2(value)
    return round(value * _STEPS_PER_STOP) / _STEPS_PER_STOP
