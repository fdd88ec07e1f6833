"""What thresholds do: to verdicts that were given, to photographs, and to images that people know.

Everything is counted in whole tenths of a percent, so that any threshold a lead can set is answered exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline.one_class import clopper_pearson, whole
from pipeline.records import Interval, Label, SurfacePolicy, VerdictKind
from pipeline.verdict import by_p_value

BINS = 1000
"""Of p-values: a tenth of a percent each."""

MANY = 10_000
"""Photographs a day above which only the rate's own uncertainty counts (within 1 %), and not the day's chance, which
would take half a second to sum up for a million."""

SCORED = (VerdictKind.CAMERA, VerdictKind.UNSURE, VerdictKind.NOT_CAMERA)
"""Kinds that thresholds decide between."""

Moves = Mapping[tuple[VerdictKind, VerdictKind], int]
"""(verdict as given, verdict as it would be) -> images."""


@dataclass(frozen=True, slots=True)
class ScoreCount:
    """So many verdicts of one kind had p-values in one bin."""

    p_bin: int
    """ceil(1000 x p-value), 1 to 1000: the p-value is at most p_bin / 1000, and more than (p_bin - 1) / 1000."""
    kind: VerdictKind
    """As given."""
    is_withheld: bool
    """Never called `camera`, whatever its p-value (`verdict.withheld`)."""
    count: int


@dataclass(frozen=True, slots=True)
class KnownCount:
    """So many images that people agree about had p-values in one bin."""

    p_bin: int
    label: Label
    count: int


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `count`, with the 95 % Clopper-Pearson interval of the share."""

    hits: int
    count: int

    @property
    def value(self) -> float | None:
        """None of nothing."""
        return self.hits / self.count if self.count else None

    @property
    def interval(self) -> Interval:
        return clopper_pearson(self.hits, self.count) if self.count else Interval(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """Photographs a day that thresholds would flag."""

    mean: float
    low: float
    """Nineteen days of twenty have at least `low` and at most `high`."""
    high: float


def window_start(now: datetime, days: int) -> datetime:
    """Where a window of the last `days` begins: of one day on the hour, of more at midnight UTC, as days are merged."""
    start = (now - timedelta(days=days)).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return start if days == 1 else start.replace(hour=0)


def tenths_of_percent(policy: SurfacePolicy) -> SurfacePolicy:
    """The policy with its thresholds rounded to what is counted, and to what a slider can be set to."""
    not_camera, unsure = (round(rate * BINS) / BINS for rate in (policy.not_camera_fpr, policy.unsure_fpr))
    return SurfacePolicy(not_camera, unsure, policy.decisions_needed)


def would_be(count: ScoreCount, policy: SurfacePolicy) -> VerdictKind:
    """The verdict under this policy. Exact for thresholds of whole tenths of a percent."""
    return by_p_value(count.p_bin / BINS, policy, is_withheld=count.is_withheld)


def dry_run(counts: Iterable[ScoreCount], policy: SurfacePolicy) -> Moves:
    """What the verdicts that were given would have been under this policy. Every image is counted once."""
    moves: Counter[tuple[VerdictKind, VerdictKind]] = Counter()
    for count in counts:
        moves[count.kind, would_be(count, policy)] += count.count
    return moves


def changed(moves: Moves) -> int:
    """Images whose verdict would be another."""
    return sum(count for (given, new), count in moves.items() if given is not new)


def totals(moves: Moves) -> Mapping[VerdictKind, int]:
    """Verdict as it would be -> images."""
    found: Counter[VerdictKind] = Counter()
    for (_, new), count in moves.items():
        found[new] += count
    return found


def at_most(known: Iterable[KnownCount], label: Label, rate: float) -> Share:
    """Of the images that people agree are `label`, those whose p-value is at most `rate`."""
    those = [one for one in known if one.label is label]
    hits = sum(one.count for one in those if one.p_bin / BINS <= rate)
    return Share(hits, sum(one.count for one in those))


def false_alarms(photographs: float, rate: float, calibrated_on: int | None) -> FalseAlarms:
    """Of so many photographs a day, those whose p-value is at most `rate`, were they like the calibration ones.

    With m calibration photographs the number flagged is beta-binomial: the rate behind the threshold is itself drawn,
    Beta(k, m + 1 - k) with k = rate (m + 1) (Vovk 2012). `calibrated_on` None: not known, plain binomial.
    """
    from scipy import stats  # takes a second to import, and every process imports the store

    n = round(photographs)
    if n == 0:
        return FalseAlarms(0.0, 0.0, 0.0)
    chance = stats.binom(n, rate)
    if calibrated_on is not None:
        rank = whole(rate * (calibrated_on + 1))
        if rank == 0:  # so few photographs that no p-value gets so small
            return FalseAlarms(0.0, 0.0, 0.0)
        if n > MANY:
            rates = stats.beta(rank, calibrated_on + 1 - rank)
            low, high = rates.interval(0.95)
            return FalseAlarms(n * float(rates.mean()), n * float(low), n * float(high))
        chance = stats.betabinom(n, rank, calibrated_on + 1 - rank)
    low, high = chance.interval(0.95)
    return FalseAlarms(float(chance.mean()), float(low), float(high))


def histogram(counts: Sequence[ScoreCount], *, up_to: int, width: int) -> tuple[list[int], int]:
    """Images by p-value, in bars of `width` tenths of a percent; and how many lie above `up_to` tenths."""
    by_bin = np.zeros(BINS + 1, dtype=np.int64)  # (1001,): index 0 stays empty
    for count in counts:
        by_bin[count.p_bin] += count.count
    bars = by_bin[1 : up_to + 1].reshape(-1, width).sum(axis=1)  # (up_to / width,)
    return [int(bar) for bar in bars], int(by_bin[up_to + 1 :].sum())


@dataclass(frozen=True, slots=True)
class Effect:
    """What a policy does at one surface."""

    policy: SurfacePolicy
    verdicts: Mapping[VerdictKind, int]
    """Of the window's images, as they would be."""
    alarms: FalseAlarms
    """Photographs called `not_camera`, a day, were every scored upload a photograph: an upper bound."""
    flagged_alarms: FalseAlarms
    """Photographs called `not_camera` or `unsure`; those that are `unsure` at any threshold come on top."""
    caught: Share
    """Confirmed AI images that would be called `not_camera`."""
    caught_or_unsure: Share
    wronged: Share
    """Confirmed photographs that would be called `not_camera`."""
    wronged_or_unsure: Share


def effect(
    counts: Sequence[ScoreCount],
    known: Sequence[KnownCount],
    policy: SurfacePolicy,
    *,
    days: float,
    calibrated_on: int | None,
) -> Effect:
    """Of a window of so many days."""
    a_day = sum(count.count for count in counts) / days
    return Effect(
        policy=policy,
        verdicts=totals(dry_run(counts, policy)),
        alarms=false_alarms(a_day, policy.not_camera_fpr, calibrated_on),
        flagged_alarms=false_alarms(a_day, policy.unsure_fpr, calibrated_on),
        caught=at_most(known, Label.NOT_CAMERA, policy.not_camera_fpr),
        caught_or_unsure=at_most(known, Label.NOT_CAMERA, policy.unsure_fpr),
        wronged=at_most(known, Label.CAMERA, policy.not_camera_fpr),
        wronged_or_unsure=at_most(known, Label.CAMERA, policy.unsure_fpr),
    )
