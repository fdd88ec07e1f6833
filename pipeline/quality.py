"""How right the model and the people are, from counts: every figure with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pipeline.records import Interval, Label, VerdictKind


@dataclass(frozen=True, slots=True)
class Reviewed:
    """So many verdicts of one kind that people decided to be `outcome`."""

    surface: str
    kind: VerdictKind
    outcome: Label | None
    """None: they could not tell."""
    count: int


@dataclass(frozen=True, slots=True)
class Precision:
    """Of one kind's verdicts that people could judge, those that they agreed with."""

    surface: str
    kind: VerdictKind
    right: int
    judged: int
    unjudged: int
    """Decided, but neither `camera` nor `not_camera`."""

    @property
    def value(self) -> float | None:
        return self.right / self.judged if self.judged else None

    @property
    def interval(self) -> Interval:
        return wilson(self.right, self.judged)


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement beyond chance: 1 is always, 0 is as often as chance has it."""

    count: int
    """Items that two reviewers decided."""
    agreed: float
    """Share of them."""
    value: float | None
    """None where chance alone explains full agreement: both always said the same one thing."""
    error: float | None
    """Standard error of `value`."""

    @property
    def interval(self) -> Interval | None:
        """95 %, by the normal approximation, which wants some dozens of items."""
        if self.value is None or self.error is None:
            return None
        from scipy import stats  # takes a second to import, and every process imports the store

        margin = float(stats.norm.isf(0.025)) * self.error
        return Interval(max(-1.0, self.value - margin), min(1.0, self.value + margin))


def wilson(successes: int, trials: int) -> Interval:
    """95 % score interval of a share (Wilson 1927): honest for small counts and near 0 and 1."""
    if trials == 0:
        return Interval(0.0, 1.0)
    from scipy import stats  # see `Kappa.interval`

    found = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    return Interval(float(found.low), float(found.high))


def precisions(reviewed: Iterable[Reviewed]) -> list[Precision]:
    """Per surface and kind, by name. A verdict is right where people decided what it says."""
    found: dict[tuple[str, VerdictKind], list[Reviewed]] = {}
    for one in reviewed:
        found.setdefault((one.surface, one.kind), []).append(one)
    return [_precision(surface, kind, rows) for (surface, kind), rows in sorted(found.items())]


def _precision(surface: str, kind: VerdictKind, rows: Sequence[Reviewed]) -> Precision:
    judged = sum(row.count for row in rows if row.outcome in (Label.CAMERA, Label.NOT_CAMERA))
    right = sum(row.count for row in rows if row.outcome is not None and row.outcome.value == kind.value)
    return Precision(surface, kind, right, judged, sum(row.count for row in rows) - judged)


def agreement(pairs: Mapping[tuple[Label, Label], int]) -> Kappa | None:
    """Cohen's kappa over what two reviewers said of the same items; None without any item."""
    table = np.array([[pairs.get((first, second), 0) for second in Label] for first in Label])
    return cohens_kappa(table) if table.sum() else None


def cohens_kappa(table: ArrayLike) -> Kappa:
    """`table` (k, k): items by what the first and the second reviewer said, not all zero (Cohen 1960).

    Standard error: Fleiss, Cohen & Everitt, "Large sample standard errors of kappa and weighted kappa", 1969.
    """
    counts = np.asarray(table, dtype=np.float64)
    n = counts.sum()
    p = counts / n  # (k, k)
    first, second = p.sum(axis=1), p.sum(axis=0)  # (k,) each
    agreed, chance = float(np.trace(p)), float(first @ second)
    if chance >= 1:
        return Kappa(int(n), agreed, None, None)
    kappa = (agreed - chance) / (1 - chance)
    both = second[:, None] + first[None, :]  # (k, k)
    on = float(np.diag(p) @ (1 - (first + second) * (1 - kappa)) ** 2)
    off = (1 - kappa) ** 2 * float((p * both**2).sum() - np.diag(p) @ np.diag(both) ** 2)
    variance = (on + off - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    return Kappa(int(n), agreed, kappa, max(variance, 0.0) ** 0.5)
