"""Figures that say how far real and AI images' scores are apart, each with its 95 % interval.

Scores here grow with suspicion: higher = more like an AI image. AI is the positive class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.one_class import clopper_pearson
from pipeline.records import Interval

Scores = NDArray[np.float64]
Counts = NDArray[np.float64]
"""How often each image is drawn in each resample, (images, resamples). Rows are fast to pick."""

LEAST_SOURCES = 10
"""Fewer of them say too little about what another draw of sources would bring."""

FPRS: Mapping[str, float] = {"tpr_at_fpr_2": 0.02, "tpr_at_fpr_6.5": 0.065}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval."""

    value: float
    interval: Interval


def auroc(real: Scores, ai: Scores) -> float:
    """Probability that an AI image scores above a real one; ties count half (Mann-Whitney)."""
    return float(_auroc(_once(real), _once(ai))[0])


def average_precision(real: Scores, ai: Scores) -> float:
    """Area under the precision-recall curve, by steps; ties are one step."""
    return float(_average_precision(_once(real), _once(ai))[0])


def tpr_at_fpr(real: Scores, ai: Scores, rate: float) -> float:
    """Share of AI images above the lowest threshold that at most `rate` of the real ones exceed."""
    return float(_tpr_at_fpr(_once(real), _once(ai), rate)[0])


def share(hits: int, trials: int) -> Figure:
    """A share of images with its Clopper-Pearson interval."""
    return Figure(hits / trials, clopper_pearson(hits, trials))


def fpr_at_promise(p_values_of_real: Scores, promise: float) -> Figure:
    """Share of real images whose conformal p-value is at most `promise`, with its Clopper-Pearson interval."""
    return share(int((p_values_of_real <= promise).sum()), len(p_values_of_real))


def measure(
    real: Scores,
    ai: Scores,
    *,
    real_sources: Sequence[str] = (),
    ai_sources: Sequence[str] = (),
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Figure]:
    """Every measure with its 95 % bootstrap interval, resampled within each class.

    Images of one source are alike, so where an image's source is said and there are `LEAST_SOURCES` of them, whole
    sources are drawn (cluster bootstrap); else single images.
    """
    draws = measures(
        Sample(real, _draw(_drawn_together(real, real_sources), resamples, (seed, 0))),
        Sample(ai, _draw(_drawn_together(ai, ai_sources), resamples, (seed, 1))),
    )
    values = measures(_once(real), _once(ai))
    bounds = {name: np.percentile(drawn, (2.5, 97.5)) for name, drawn in draws.items()}
    return {
        name: Figure(float(value[0]), Interval(float(bounds[name][0]), float(bounds[name][1])))
        for name, value in values.items()
    }


def auroc_difference(
    one: tuple[Scores, Scores],
    other: tuple[Scores, Scores],
    *,
    real_sources: Sequence[str] = (),
    ai_sources: Sequence[str] = (),
    resamples: int = 1000,
) -> Figure:
    """By how much the AUROC of `one` is above that of `other`: two scores of the same (real, AI) images, drawn as in
    `measure`, the same draw for both."""
    draws = [
        _draw(_drawn_together(scores, sources), resamples, (0, side))
        for side, (scores, sources) in enumerate(zip(one, (real_sources, ai_sources), strict=True))
    ]
    drawn = [_auroc(*(Sample(side, counts) for side, counts in zip(both, draws, strict=True))) for both in (one, other)]
    low, high = np.percentile(drawn[0] - drawn[1], (2.5, 97.5))
    return Figure(auroc(*one) - auroc(*other), Interval(float(low), float(high)))


def as_json(figures: Mapping[str, Figure]) -> dict[str, object]:
    """`{"auroc": 0.9, "auroc_interval": [0.88, 0.92], ...}`: each figure with its interval beside it."""
    flat: dict[str, object] = {}
    for name, figure in figures.items():
        flat[name] = round(figure.value, 4)
        flat[f"{name}_interval"] = [round(figure.interval.low, 4), round(figure.interval.high, 4)]
    return flat


# Below, a thousand resamples at once: every group of every condition has its intervals.


class Sample:
    """Images of one label, the highest score first, and how many of them are drawn down to each."""

    def __init__(self, scores: Scores, counts: Counts) -> None:
        order = np.argsort(-scores, kind="stable")
        self.scores, self.counts = scores[order], counts[order]
        self.drawn = np.vstack([np.zeros((1, counts.shape[1])), self.counts.cumsum(0)])
        self.total = self.drawn[-1]
        """(resamples,): sources differ in size."""

    def above(self, scores: Scores) -> NDArray[np.intp]:
        """Images over each of `scores`: a row of `drawn`."""
        return np.searchsorted(-self.scores, -scores, side="left")

    def from_(self, scores: Scores) -> NDArray[np.intp]:
        """Images at or over each of `scores`: a row of `drawn`."""
        return np.searchsorted(-self.scores, -scores, side="right")


def _once(scores: Scores) -> Sample:
    """Every image once."""
    return Sample(scores, np.ones((len(scores), 1)))


def _drawn_together(scores: Scores, sources: Sequence[str]) -> tuple[int, ...]:
    """Number of each image's group: its source, or itself."""
    if len(set(sources)) < LEAST_SOURCES:
        return tuple(range(len(scores)))
    return tuple(np.unique(sources, return_inverse=True)[1].tolist())


@lru_cache(maxsize=256)
def _draw(groups: tuple[int, ...], resamples: int, seed: tuple[int, int]) -> Counts:
    random, count = np.random.default_rng(seed), max(groups) + 1
    drawn = random.multinomial(count, np.full(count, 1 / count), size=resamples).T.astype(np.float64)
    return np.asarray(drawn[list(groups)])


def measures(real: Sample, ai: Sample) -> dict[str, Scores]:
    """Every measure of every resample, (resamples,)."""
    return {
        "auroc": _auroc(real, ai),
        "ap": _average_precision(real, ai),
        **{name: _tpr_at_fpr(real, ai, rate) for name, rate in FPRS.items()},
    }


def _auroc(real: Sample, ai: Sample) -> Scores:
    lost = (real.drawn[real.above(ai.scores)] + real.drawn[real.from_(ai.scores)]) / 2  # (ai, resamples)
    return np.asarray(1 - (ai.counts * lost).sum(0) / (real.total * ai.total))


def _average_precision(real: Sample, ai: Sample) -> Scores:
    found, falsely = ai.drawn[ai.from_(ai.scores)], real.drawn[real.from_(ai.scores)]
    # Above the first image that a resample draws nothing is found: 0 of 0, which adds nothing.
    return np.asarray((ai.counts * found / np.maximum(found + falsely, 1)).sum(0) / ai.total)


def _tpr_at_fpr(real: Sample, ai: Sample, rate: float) -> Scores:
    allowed = np.floor(rate * real.total)
    threshold_at = (real.drawn[1:] > allowed).argmax(0)  # first real one that may not be exceeded
    found = ai.drawn[ai.above(real.scores)[threshold_at], np.arange(ai.drawn.shape[1])]
    return np.asarray(found / ai.total)
