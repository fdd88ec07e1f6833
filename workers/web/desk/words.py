"""Evidence in plain words. Nothing here decides anything: it says what was decided, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.evidence import CurrentVerdict, Findings
from pipeline.read_out import HANDLING, handling_told
from pipeline.records import ExifPrediction, Handling, ProvenanceClaim, Score, VerdictKind
from pipeline.verdict import withheld

NOTICE = "a signal, not proof"

HARDLY_ANY, FEW = 0.02, 0.10
"""p-values up to which these words are true, whatever the thresholds of a surface are."""

_NOT_APPLICABLE = {
    "too_small": "Too small to say anything: under 64 pixels on a side.",
    "flat": "Too flat to say anything: nearly every pixel has one value.",
    "graphic": "Text, a screenshot, a chart or a drawing: whether a camera formed it is no question here.",
}

HANDLING_WORDS = {
    Handling.AS_MADE: "as made, or saved again at most",
    Handling.HANDLED: "handled: made smaller, sharpened, or blurred a little",
    Handling.SOFT: "soft: enlarged or blurred, so the finest detail is gone, and with it the traces of a camera",
}

_SOURCE_TYPES = {
    "digitalCapture": "captured by a camera",
    "computationalCapture": "captured by a camera, from several exposures",
    "negativeFilm": "scanned from a negative",
    "positiveFilm": "scanned from a positive",
    "print": "scanned from a print",
    "trainedAlgorithmicMedia": "made by a generative model",
    "compositeWithTrainedAlgorithmicMedia": "partly made by a generative model",
    "algorithmicallyEnhanced": "enhanced by an algorithm",
    "algorithmicMedia": "made by an algorithm that was not trained",
    "compositeSynthetic": "composed, with synthetic parts",
    "composite": "composed of several images",
    "digitalArt": "drawn by a person with software",
    "digitalCreation": "made by a person with software",
    "screenCapture": "captured from a screen",
}
"""IPTC's digital source types, https://cv.iptc.org/newscodes/digitalsourcetype."""

_EXIF_VALUES = {
    "Flash": {
        "0": "no flash",
        "1": "fired",
        "5": "fired, no return light",
        "7": "fired, return light",
        "9": "on, fired",
        "16": "off",
        "24": "auto, did not fire",
        "25": "auto, fired",
        "32": "no flash function",
    },
    "MeteringMode": {
        "0": "unknown",
        "1": "average",
        "2": "centre-weighted",
        "3": "spot",
        "4": "multi-spot",
        "5": "multi-segment",
        "6": "partial",
    },
    "ExposureMode": {"0": "auto", "1": "manual", "2": "auto bracket"},
    "ExposureProgram": {
        "0": "not defined",
        "1": "manual",
        "2": "program AE",
        "3": "aperture priority",
        "4": "shutter priority",
        "5": "creative",
        "6": "action",
        "7": "portrait",
        "8": "landscape",
    },
    "WhiteBalance": {"0": "auto", "1": "manual"},
    "SceneCaptureType": {"0": "standard", "1": "landscape", "2": "portrait", "3": "night"},
    "ColorSpace": {"1": "sRGB", "2": "Adobe RGB", "65535": "uncalibrated"},
}
"""What EXIF's numbers mean (EXIF 2.32)."""

_WITHHELD = {
    "too_soft_to_tell": ("Too soft to tell, though it does not look unlike a photograph", "soft images"),
    "sizes_disagree": ("Strange at one size alone", "images that are strange at one size alone"),
}
"""Reason why an image is not called `camera` -> what that says, and what such images are."""

AGAINST = 10
"""How many times likelier the predicted value must be than the claimed one, before the pixels speak against it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One EXIF tag: what the header claims beside what the pixels say."""

    tag: str
    claimed: str
    predicted: str
    probability: float
    claimed_probability: float | None
    agreement: str
    style: str
    """`good`, `warn`, `bad` or `faint`."""


def sentence(found: Findings) -> str:
    """The whole card in one sentence."""
    if found.verdict is None:
        return "No verdict yet: the upload waits for the detector."
    if found.verdict.kind is VerdictKind.REJECTED:
        return f"The bytes could not be looked at: {found.verdict.reason.replace('_', ' ')}."
    if found.verdict.kind is VerdictKind.NOT_APPLICABLE or found.score is None:
        return _NOT_APPLICABLE.get(found.verdict.reason, "The question does not apply to this image.")
    share, score = _share(found.score), found.score
    is_changed = score.p_value != score.full_size_p_value or found.verdict.reason == "sizes_disagree"
    if is_changed and score.half_size_p_value is not None:
        share += f"; at half the size, {_count(score.half_size_p_value)} so"
    return f"{_likeness(found.verdict, score)}: {share}."


def _likeness(verdict: CurrentVerdict, score: Score) -> str:
    if verdict.reason in _WITHHELD:
        return _WITHHELD[verdict.reason][0]
    if score.full_size_p_value <= HARDLY_ANY:
        return "Looks like hardly any of the photographs we know"
    if score.full_size_p_value <= FEW:
        return "Looks like few of the photographs we know"
    return "Looks like many of the photographs we know"


def _share(score: Score) -> str:
    alike = "handled like this one" if handling_told(score.exif_predictions) is not None else "taken by cameras"
    return f"of 1,000 photographs {alike}, {_count(score.full_size_p_value)} at least as strange"


def _count(p_value: float) -> str:
    strange = 1000 * p_value
    return f"about {strange:.0f} look" if strange >= 1.5 else "about one looks"


def moves(found: Findings) -> list[str]:
    """What other thresholds would have made of it."""
    if found.verdict is None or found.score is None:
        return []
    return list(_moves(found.score.p_value, found.verdict, withheld(found.score)))


def _moves(p: float, verdict: CurrentVerdict, why_withheld: str | None) -> Iterator[str]:
    policy, at_least, at_most = verdict.policy, _tenths(p), _tenths(p) - 0.1
    if p <= policy.not_camera_fpr:
        yield f"It would no longer be not_camera if the promised rate were at most {at_most:.1f} %."
    else:
        yield f"It would be not_camera if the promised rate were at least {at_least:.1f} %."
    if p > policy.unsure_fpr and why_withheld is None:
        yield f"It would be unsure if the rate promised for unsure were at least {at_least:.1f} %."
    elif why_withheld is not None:
        yield f"No threshold makes it camera: {_WITHHELD[why_withheld][1]} are never called so."
    elif policy.not_camera_fpr < p <= policy.unsure_fpr:
        yield f"It would be camera if the rate promised for unsure were at most {at_most:.1f} %."


def _tenths(p: float) -> float:
    """The smallest rate in whole tenths of a percent that reaches `p`."""
    return math.ceil(round(1000 * p, 6)) / 10


def handling(score: Score) -> tuple[str, float] | None:
    """How the pixels look handled, and with which probability; None where the release could not tell."""
    told = next((one for one in score.exif_predictions if one.tag == HANDLING), None)
    kind = handling_told(score.exif_predictions)
    return None if told is None or kind is None else (HANDLING_WORDS[kind], told.probability)


def claims(predictions: Sequence[ExifPrediction]) -> list[Claim]:
    """Each EXIF tag that the network reads."""
    return [_claim(one) for one in predictions if one.tag != HANDLING]


def _claim(one: ExifPrediction) -> Claim:
    agreement, style = _agreement(one)
    return Claim(
        tag=one.tag,
        claimed="–" if one.claimed is None else exif_value(one.tag, one.claimed),
        predicted=exif_value(one.tag, one.predicted),
        probability=one.probability,
        claimed_probability=one.claimed_probability,
        agreement=agreement,
        style=style,
    )


def _agreement(one: ExifPrediction) -> tuple[str, str]:
    if one.claimed is None:
        return "nothing claimed", "faint"
    if not one.is_informed:
        return "the network guesses", "faint"
    if one.claimed_probability is None:
        return "unknown to the network", "faint"
    if one.claimed_probability >= one.probability:
        return "agrees", "good"
    if one.probability >= AGAINST * one.claimed_probability:
        return "speaks against it", "bad"
    return "undecided", "warn"


def exif_value(tag: str, value: str | float | int) -> str:
    """EXIF's numbers in words, exposure times as fractions, all else as it is."""
    text = str(value)
    if tag in ("ExposureTime", "ShutterSpeedValue") and isinstance(value, float | int) and 0 < value < 0.5:
        return f"1/{1 / value:.0f} s"
    if isinstance(value, float):
        return f"{value:.4g}"
    return _EXIF_VALUES.get(tag, {}).get(text, text)


def source_type(claim: ProvenanceClaim) -> str:
    words = _SOURCE_TYPES.get(claim.value)
    return f"{words} ({claim.value})" if words else claim.value
