"""One surface's window of scores and EXIF claims against the model's reference: what moved, and could it be chance?

Every statistic comes with the limit it is held against and the probability of passing that limit although nothing
drifted, computed for the window's own size: a fixed limit does not know it (PSI > 0.1 rings in 85 % of quiet windows of
100 images against 100). A window that is too small says so and raises nothing.

Sources: PSI as (1/n + 1/m) chi2 with B - 1 degrees of freedom: Yurdakul, "Statistical Properties of Population
Stability Index", 2018. Several cells at once: Benjamini & Hochberg, "Controlling the False Discovery Rate", 1995.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.ports import ScoredSample
from pipeline.records import DOUBT, SurfacePolicy, VerdictKind

Floats = NDArray[np.float64]

QUIET = 0.01
"""At most this share of quiet windows passes a statistic's limit, and at most this share raises any alert at all."""

PSI_FLOOR = 0.1
"""The usual rule of thumb; smaller shifts are not worth a look even where they are certain."""

BINS = 10
LEAST_EXPECTED = 5
"""Images that a bin or category must expect, for the chi-squared approximation to hold."""

LEAST_WINDOW = BINS * LEAST_EXPECTED
SPLITS = 400
"""Random splits that the Wasserstein limit is estimated from."""

MISSING = "(missing)"


@dataclass(frozen=True, slots=True)
class Reference:
    """What the window is compared with: the model's calibration photographs."""

    log_likelihood: Floats
    """(m,)"""
    ai_probability: Floats
    """(m,)"""
    makes: Mapping[str, int] | None = None
    """EXIF make -> calibration photographs, `MISSING` for none; None where the release does not say."""
    formats: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Statistic:
    """One number about one window. `value` is None where the window or the reference is too small; `note` says why."""

    name: str
    count: int
    value: float | None = None
    limit: float | None = None
    p_value: float | None = None
    """Probability of a value at least as large if nothing drifted."""
    false_alarm_rate: float | None = None
    """Probability of passing `limit` if nothing drifted."""
    note: str = ""

    @property
    def beyond_limit(self) -> bool:
        return self.value is not None and self.limit is not None and self.value > self.limit


@dataclass(frozen=True, slots=True)
class Alert:
    surface: str
    statistic: Statistic

    def __str__(self) -> str:
        s = self.statistic
        return (
            f"{self.surface}: {s.name} is {s.value:.3g}, limit {s.limit:.3g} ({s.count} images, p = {s.p_value:.2g}; "
            f"a quiet window passes this limit with probability {s.false_alarm_rate:.2g})"
        )


def measure(
    samples: Sequence[ScoredSample], reference: Reference, policy: SurfacePolicy, *, photographs_only: bool = False
) -> list[Statistic]:
    """Every statistic of one surface's window.

    `photographs_only`: every upload of the surface is a photograph (a trusted surface), so the promised false-positive
    rates bound its verdicts. Elsewhere generated images rightly exceed them, and the shares are told without a limit.
    """
    likelihood = np.array([sample.log_likelihood for sample in samples], dtype=np.float64)
    probability = np.array([sample.ai_probability for sample in samples], dtype=np.float64)
    makes = Counter(sample.make or MISSING for sample in samples)
    kinds = Counter(sample.kind for sample in samples)
    not_camera = kinds[VerdictKind.NOT_CAMERA]
    # `camera` is withheld from what is strange at one size alone, so from as many at full size, and at half of it
    promised = (policy.not_camera_fpr, max(policy.unsure_fpr, DOUBT) + DOUBT) if photographs_only else (None, None)
    return [
        population_stability("log_likelihood_psi", likelihood, reference.log_likelihood),
        population_stability("ai_probability_psi", probability, reference.ai_probability),
        wasserstein("log_likelihood_wasserstein", likelihood, reference.log_likelihood),
        flagged_share("not_camera_share", not_camera, len(samples), promised[0]),
        flagged_share("flagged_share", not_camera + kinds[VerdictKind.UNSURE], len(samples), promised[1]),
        category_stability("exif_make_psi", _named(makes), reference.makes and _named(reference.makes)),
        missing_stability("exif_missing_psi", makes, reference.makes),
        category_stability("format_psi", Counter(sample.format for sample in samples), reference.formats),
    ]


def alerts(windows: Mapping[str, Sequence[Statistic]]) -> list[Alert]:
    """The statistics beyond their limit that survive Benjamini-Hochberg over every cell (surface x statistic).

    If nothing drifted anywhere, the probability of any alert at all is at most `QUIET` (cells depend positively).
    """
    cells = [
        Alert(surface, statistic)
        for surface, statistics in windows.items()
        for statistic in statistics
        if statistic.p_value is not None
    ]
    if not cells:
        return []
    adjusted = stats.false_discovery_control([cell.statistic.p_value for cell in cells], method="bh")
    return [cell for cell, p in zip(cells, adjusted, strict=True) if p <= QUIET and cell.statistic.beyond_limit]


def population_stability(name: str, window: Floats, reference: Floats) -> Statistic:
    """PSI over the reference's deciles; ties (a saturated probability) merge deciles."""
    if (shortage := _shortage(name, len(window), len(reference))) is not None:
        return shortage
    edges = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS))
    counts, expected = (np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1) for x in (window, reference))
    return _psi(name, counts, expected)


def category_stability(name: str, window: Mapping[str, int], reference: Mapping[str, int] | None) -> Statistic:
    """PSI over categories; the rare ones are one.

    Which are rare is asked of both sets together: asked of the reference alone, a category that is there by luck would
    count as common, and quiet windows would ring five times too often.
    """
    if reference is None:
        return Statistic(name, sum(window.values()), note="the reference does not say")
    n, m = sum(window.values()), sum(reference.values())
    if (shortage := _shortage(name, n, m)) is not None:
        return shortage
    keys = sorted({*window, *reference})
    counts, expected = (np.array([shares.get(key, 0) for key in keys]) for shares in (window, reference))
    common = (counts + expected) * min(n, m) >= LEAST_EXPECTED * (n + m)
    return _psi(
        name,
        np.append(counts[common], counts[~common].sum()),
        np.append(expected[common], expected[~common].sum()),
    )


def missing_stability(name: str, window: Mapping[str, int], reference: Mapping[str, int] | None) -> Statistic:
    """PSI of the share without a make. A reference without any such photograph was chosen for EXIF: it says nothing."""
    says_so = reference is not None and reference.get(MISSING, 0) > 0
    return category_stability(
        name, _present_or_missing(window), _present_or_missing(reference) if reference and says_so else None
    )


def wasserstein(name: str, window: Floats, reference: Floats) -> Statistic:
    """Wasserstein-1 distance, against 3 standard deviations over the mean distance of random splits of both together.

    Chunks of the reference alone would understate chance where it is small: it then is itself a chance draw. Distances
    of splits are skewed, so probabilities come from a Pearson III distribution with their first three moments.
    """
    if (shortage := _shortage(name, len(window), len(reference))) is not None:
        return shortage
    rng = np.random.default_rng(0)  # the same window gives the same limit
    pooled = np.concatenate([window, reference])
    order = np.argsort(pooled)
    in_window = order < len(window)
    steps = np.diff(pooled[order])
    splits = np.array([_distance(rng.permutation(in_window), steps) for _ in range(SPLITS)])
    mean, deviation = float(splits.mean()), float(splits.std())
    if deviation == 0:
        return Statistic(name, len(window), note="window and reference are a single value")
    chance = stats.pearson3(stats.skew(splits), loc=mean, scale=deviation)
    value, limit = _distance(in_window, steps), mean + 3 * deviation
    return Statistic(name, len(window), value, limit, float(chance.sf(value)), float(chance.sf(limit)))


def _distance(in_window: NDArray[np.bool_], steps: Floats) -> float:
    """Wasserstein-1 of two samples from their labels in ascending order, (n + m,), and the steps between."""
    n, m = np.count_nonzero(in_window), np.count_nonzero(~in_window)
    return float(np.abs(np.where(in_window, 1 / n, -1 / m)[:-1].cumsum()) @ steps)


def flagged_share(name: str, flagged: int, n: int, promised: float | None) -> Statistic:
    """Share of flagged uploads, by exact binomial against the rate promised for photographs.

    The limit is the largest share that at least `QUIET` of windows reach.
    """
    if n == 0:
        return Statistic(name, 0, note="no images")
    if promised is None:
        return Statistic(name, n, flagged / n, note="no promise holds: not every upload here is a photograph")
    limit = int(stats.binom.isf(QUIET, n, promised))
    return Statistic(
        name,
        n,
        value=flagged / n,
        limit=limit / n,
        p_value=float(stats.binom.sf(flagged - 1, n, promised)),
        false_alarm_rate=float(stats.binom.sf(limit, n, promised)),
    )


def _psi(name: str, counts: NDArray[np.int64], expected: NDArray[np.int64]) -> Statistic:
    """PSI of two rows of counts, (B,) each. Half an image is added to each bin, so that an empty one stays finite."""
    used = (counts + expected) > 0
    counts, expected = counts[used], expected[used]
    n, m, bins = int(counts.sum()), int(expected.sum()), len(counts)
    if bins < 2:
        return Statistic(name, n, 0.0, PSI_FLOOR, 1.0, 0.0, note="a single bin")
    p = (counts + 0.5) / (n + bins / 2)
    q = (expected + 0.5) / (m + bins / 2)
    value = float(((p - q) * np.log(p / q)).sum())
    chance = 1 / n + 1 / m
    limit = max(PSI_FLOOR, chance * float(stats.chi2.isf(QUIET, bins - 1)))
    p_value, false_alarm_rate = (float(stats.chi2.sf(x / chance, bins - 1)) for x in (value, limit))
    return Statistic(name, n, value, limit, p_value, false_alarm_rate)


def _shortage(name: str, n: int, m: int) -> Statistic | None:
    if n < LEAST_WINDOW:
        return Statistic(name, n, note=f"too few images: {n} of {LEAST_WINDOW}")
    if m < LEAST_WINDOW:
        return Statistic(name, n, note=f"too few reference photographs: {m} of {LEAST_WINDOW}")
    return None


def _named(makes: Mapping[str, int]) -> dict[str, int]:
    return {make: count for make, count in makes.items() if make != MISSING}


def _present_or_missing(makes: Mapping[str, int]) -> dict[str, int]:
    return {"present": sum(_named(makes).values()), MISSING: makes.get(MISSING, 0)}
