"""Figures that say how far real and AI images' scores are apart, each with its 95 % interval.

Scores here grow with suspicion: higher = more like an AI image. AI is the positive class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.one_class import clopper_pearson
from pipeline.records import Interval

Scores = NDArray[np.float64]
Counts = NDArray[np.float64]
"""How often each image is drawn in each resample, (resamples, images)."""

FPRS: Mapping[str, float] = {"tpr_at_fpr_2": 0.02, "tpr_at_fpr_6.5": 0.065}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval."""

    value: float
    interval: Interval


def auroc(real: Scores, ai: Scores) -> float:
    """Probability that an AI image scores above a real one; ties count half (Mann-Whitney)."""
    return float(_auroc(real, ai, _once(real), _once(ai))[0])


def average_precision(real: Scores, ai: Scores) -> float:
    """Area under the precision-recall curve, by steps; ties are one step."""
    return float(_average_precision(real, ai, _once(real), _once(ai))[0])


def tpr_at_fpr(real: Scores, ai: Scores, rate: float) -> float:
    """Share of AI images above the lowest threshold that at most `rate` of the real ones exceed."""
    return float(_tpr_at_fpr(real, ai, _once(real), _once(ai), rate)[0])


def share(hits: int, trials: int) -> Figure:
    """A share of images with its Clopper-Pearson interval."""
    return Figure(hits / trials, clopper_pearson(hits, trials))


def fpr_at_promise(p_values_of_real: Scores, promise: float) -> Figure:
    """Share of real images whose conformal p-value is at most `promise`, with its Clopper-Pearson interval."""
    return share(int((p_values_of_real <= promise).sum()), len(p_values_of_real))


def measure(real: Scores, ai: Scores, *, resamples: int = 1000, seed: int = 0) -> dict[str, Figure]:
    """Every measure with its 95 % bootstrap interval (images resampled within each class)."""
    random = np.random.default_rng(seed)
    draws = _measures(real, ai, _draw(random, len(real), resamples), _draw(random, len(ai), resamples))
    values = _measures(real, ai, _once(real), _once(ai))
    bounds = {name: np.percentile(drawn, (2.5, 97.5)) for name, drawn in draws.items()}
    return {
        name: Figure(float(value[0]), Interval(float(bounds[name][0]), float(bounds[name][1])))
        for name, value in values.items()
    }


def as_json(figures: Mapping[str, Figure]) -> dict[str, object]:
    """`{"auroc": 0.9, "auroc_interval": [0.88, 0.92], ...}`: each figure with its interval beside it."""
    flat: dict[str, object] = {}
    for name, figure in figures.items():
        flat[name] = round(figure.value, 4)
        flat[f"{name}_interval"] = [round(figure.interval.low, 4), round(figure.interval.high, 4)]
    return flat


# Below, one row is one resample: a thousand of them at once, for every group of every condition has its intervals.


def _once(scores: Scores) -> Counts:
    return np.ones((1, len(scores)))


def _draw(random: np.random.Generator, images: int, resamples: int) -> Counts:
    return random.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float64)


def _measures(real: Scores, ai: Scores, real_counts: Counts, ai_counts: Counts) -> dict[str, Scores]:
    return {
        "auroc": _auroc(real, ai, real_counts, ai_counts),
        "ap": _average_precision(real, ai, real_counts, ai_counts),
        **{name: _tpr_at_fpr(real, ai, real_counts, ai_counts, rate) for name, rate in FPRS.items()},
    }


def _auroc(real: Scores, ai: Scores, real_counts: Counts, ai_counts: Counts) -> Scores:
    wins = (ai[:, None] > real) + 0.5 * (ai[:, None] == real)  # (ai, real)
    won = ((ai_counts @ wins) * real_counts).sum(1)
    return np.asarray(won / (len(real) * len(ai)))


def _average_precision(real: Scores, ai: Scores, real_counts: Counts, ai_counts: Counts) -> Scores:
    scores = np.concatenate([real, ai])
    order = np.argsort(-scores, kind="stable")
    steps = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # last index of each run of ties
    nothing_of_ai, nothing_of_real = np.zeros_like(ai_counts), np.zeros_like(real_counts)
    found = np.hstack([nothing_of_real, ai_counts])[:, order].cumsum(1)[:, steps]
    falsely = np.hstack([real_counts, nothing_of_ai])[:, order].cumsum(1)[:, steps]
    newly = np.diff(found, axis=1, prepend=0.0)
    # Before the first image of a resample nothing is found: 0 of 0, which adds nothing.
    return np.asarray((newly * found / np.maximum(found + falsely, 1)).sum(1) / len(ai))


def _tpr_at_fpr(real: Scores, ai: Scores, real_counts: Counts, ai_counts: Counts, rate: float) -> Scores:
    allowed = np.floor(rate * len(real))
    order = np.argsort(-real)
    threshold_at = (real_counts[:, order].cumsum(1) > allowed).argmax(1)  # first real one that may not be exceeded
    falling = np.argsort(-ai)
    above = np.searchsorted(-ai[falling], -real[order], side="left")  # AI images above each real one
    found = np.hstack([np.zeros((len(ai_counts), 1)), ai_counts[:, falling].cumsum(1)])
    return np.asarray(found[np.arange(len(found)), above[threshold_at]] / len(ai))
