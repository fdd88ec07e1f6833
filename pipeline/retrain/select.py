"""Verified photographs -> what to fit on, what to calibrate on, what to judge by. Pure and deterministic.

No two of the three sides share an uploader or a camera model: otherwise the calibration would promise for cameras and
people that the fit already knows. A camera model keeps its side for ever (its hash decides), so that tonight's gate
asks about no photograph that yesterday's champion was fitted on. An uploader goes where most of his photographs are;
his others are left out.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.ports import VerifiedPhoto
from pipeline.settings import RetrainSettings

LEAST_FIT_CAMERAS = 4
"""Camera models on the fit's side: its cross-validation never parts one."""

LEAST_HELD_OUT = 20
"""Photographs that the gate needs to say anything."""


class Side(StrEnum):
    FIT = "fit"
    CALIBRATION = "calibration"
    HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True)
class Selection:
    """The three sides, and how many photographs each step left."""

    fit: tuple[VerifiedPhoto, ...]
    calibration: tuple[VerifiedPhoto, ...]
    held_out: tuple[VerifiedPhoto, ...]
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class NotEnough:
    """Why tonight's photographs do not do. An expected outcome: the champion stays."""

    reason: str
    counts: dict[str, int]


def select(
    photos: Iterable[VerifiedPhoto], settings: RetrainSettings, *, smallest_rate: float
) -> Selection | NotEnough:
    """Drop repetitions, cap each uploader and the total, split.

    `smallest_rate` is the smallest false-positive rate that any surface promises.
    """
    distinct = list({photo.sha256: photo for photo in photos}.values())
    capped = _capped(distinct, settings.max_per_uploader)[: settings.max_photos]
    counts = {"distinct": len(distinct), "after_caps": len(capped)}
    if len(capped) < settings.min_photos:
        return NotEnough(f"{len(capped)} verified photographs of {settings.min_photos} needed", counts)
    sides = split(capped, calibration_share=settings.calibration_share, held_out_share=settings.held_out_share)
    counts |= {side.value: len(sides[side]) for side in Side}
    if shortage := _shortage(sides, least_calibration(smallest_rate)):
        return NotEnough(shortage, counts)
    return Selection(
        fit=tuple(sides[Side.FIT]),
        calibration=tuple(sides[Side.CALIBRATION]),
        held_out=tuple(sides[Side.HELD_OUT]),
        counts=counts,
    )


def least_calibration(rate: float) -> int:
    """Calibration photographs that it takes for a conformal p-value to be as small as `rate`."""
    return math.ceil(1 / rate - 1)


def split(
    photos: Sequence[VerifiedPhoto], *, calibration_share: float, held_out_share: float
) -> dict[Side, list[VerifiedPhoto]]:
    """Three sides that share no uploader and no camera model; photographs that would straddle them are left out.

    Shares are of camera models, so those of photographs only come out about right.
    """

    def side_of(key: str) -> Side:
        position = _hash(key)
        if position < held_out_share:
            return Side.HELD_OUT
        return Side.CALIBRATION if position < held_out_share + calibration_share else Side.FIT

    votes: defaultdict[str, Counter[Side]] = defaultdict(Counter)
    for photo in photos:
        if (model := camera(photo)) is not None:
            votes[uploader(photo)][side_of(model)] += 1

    sides: dict[Side, list[VerifiedPhoto]] = {side: [] for side in Side}
    for photo in photos:
        who = uploader(photo)
        home = votes[who].most_common(1)[0][0] if who in votes else side_of(who)
        if side_of(camera(photo) or who) is home:  # else it would change sides when its uploader does
            sides[home].append(photo)
    return sides


def camera(photo: VerifiedPhoto) -> str | None:
    """The camera model, as a key; None where the header does not say."""
    return None if photo.model is None else f"{photo.make or ''} {photo.model}".strip().casefold()


def uploader(photo: VerifiedPhoto) -> str:
    """Who uploaded it. Those who did not say count as one uploader per camera model: the cap must hold for them too."""
    return photo.uploader_id or f"anonymous: {camera(photo)}"


def _capped(photos: Iterable[VerifiedPhoto], per_uploader: int) -> list[VerifiedPhoto]:
    """At most so many of each uploader, in an order that depends on the content alone."""
    kept: list[VerifiedPhoto] = []
    seen: Counter[str] = Counter()
    for photo in sorted(photos, key=lambda photo: _hash(photo.sha256)):
        who = uploader(photo)
        seen[who] += 1
        if seen[who] <= per_uploader:
            kept.append(photo)
    return kept


def _shortage(sides: dict[Side, list[VerifiedPhoto]], least_calibration: int) -> str | None:
    cameras = len({camera(photo) or uploader(photo) for photo in sides[Side.FIT]})
    if cameras < LEAST_FIT_CAMERAS:
        return f"{cameras} camera models to fit on, of {LEAST_FIT_CAMERAS} needed"
    for side, least in ((Side.CALIBRATION, least_calibration), (Side.HELD_OUT, LEAST_HELD_OUT)):
        if len(sides[side]) < least:
            return f"{len(sides[side])} photographs for {side}, of {least} needed"
    return None


def _hash(key: str) -> float:
    """Uniform in [0, 1), the same on every machine and night."""
    return int.from_bytes(hashlib.sha256(f"lenswatch:{key}".encode()).digest()[:8]) / 2**64
