"""How well real and AI images are told apart: the conditions images are scored under, and the figures.

Scores here grow with suspicion: higher = more like an AI image. AI is the positive class.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.one_class import clopper_pearson
from pipeline.records import DecodedImage, Interval

Scores = NDArray[np.float64]

SIDE = 512
"""Largest side, px, of the centre crop in the common re-encoding."""


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Saved as JPEG 4:2:0 and read back."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(buffer).convert("RGB")


def _reencode(image: Image.Image) -> Image.Image:
    width, height = min(image.width, SIDE), min(image.height, SIDE)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return _jpeg(image.crop((left, top, left + width, top + height)), 90)


def _halve(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


CONDITIONS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "as_found": lambda image: image,
    "reencoded": _reencode,
    "jpeg_70": lambda image: _jpeg(_reencode(image), 70),
    "half_size": lambda image: _halve(_reencode(image)),
    "blur": lambda image: _reencode(image).filter(ImageFilter.GaussianBlur(1)),
}
"""Condition -> what is done to every image, real and AI alike, before it is scored. The last three degrade the second.

`reencoded` takes away what file format and size give away; it is the honest figure.
"""


def degrade(image: DecodedImage, condition: str) -> DecodedImage:
    """`image` under one of `CONDITIONS`; a KeyError names an unknown one."""
    if condition == "as_found":
        return image
    changed = CONDITIONS[condition](Image.fromarray(image.pixels))
    return DecodedImage(np.asarray(changed), image.format)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval."""

    value: float
    interval: Interval

    def as_json(self) -> dict[str, float | list[float]]:
        return {"value": self.value, "interval": [self.interval.low, self.interval.high]}


def auroc(real: Scores, ai: Scores) -> float:
    """Probability that an AI image scores above a real one; ties count half (Mann-Whitney)."""
    order = np.sort(real)
    below = np.searchsorted(order, ai, side="left")
    at_most = np.searchsorted(order, ai, side="right")
    return float((below + at_most).mean() / (2 * len(real)))


def average_precision(real: Scores, ai: Scores) -> float:
    """Area under the precision-recall curve, by steps; ties are one step."""
    scores = np.concatenate([real, ai])
    positive = np.concatenate([np.zeros(len(real)), np.ones(len(ai))])
    order = np.argsort(-scores, kind="stable")
    steps = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # last index of each run of ties
    found = np.cumsum(positive[order])[steps]
    return float((np.diff(np.append(0.0, found)) * found / (steps + 1)).sum() / len(ai))


def tpr_at_fpr(real: Scores, ai: Scores, rate: float) -> float:
    """Share of AI images above the lowest threshold that at most `rate` of the real ones exceed."""
    allowed = int(np.floor(rate * len(real)))
    threshold = np.sort(real)[::-1][allowed]
    return float((ai > threshold).mean())


def fpr_at_promise(p_values_of_real: Scores, promise: float) -> Figure:
    """Share of real images whose conformal p-value is at most `promise`, with its Clopper-Pearson interval."""
    hits = int((p_values_of_real <= promise).sum())
    return Figure(hits / len(p_values_of_real), clopper_pearson(hits, len(p_values_of_real)))


MEASURES: Mapping[str, Callable[[Scores, Scores], float]] = {
    "auroc": auroc,
    "ap": average_precision,
    "tpr_at_fpr_2": lambda real, ai: tpr_at_fpr(real, ai, 0.02),
    "tpr_at_fpr_6.5": lambda real, ai: tpr_at_fpr(real, ai, 0.065),
}


def measure(real: Scores, ai: Scores, *, resamples: int = 1000, seed: int = 0) -> dict[str, Figure]:
    """Every measure with its 95 % bootstrap interval (images resampled within each class)."""
    random = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in MEASURES}
    for _ in range(resamples):
        some_real, some_ai = random.choice(real, len(real)), random.choice(ai, len(ai))
        for name, function in MEASURES.items():
            draws[name].append(function(some_real, some_ai))
    return {
        name: Figure(function(real, ai), Interval(*(float(v) for v in np.percentile(draws[name], (2.5, 97.5)))))
        for name, function in MEASURES.items()
    }


def as_json(figures: Mapping[str, Figure]) -> dict[str, object]:
    """`{"auroc": 0.9, "auroc_interval": [0.88, 0.92], ...}`: each figure with its interval beside it."""
    flat: dict[str, object] = {}
    for name, figure in figures.items():
        flat[name] = round(figure.value, 4)
        flat[f"{name}_interval"] = [round(bound, 4) for bound in asdict(figure.interval).values()]
    return flat
