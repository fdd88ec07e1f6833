"""Drift snapshots: the last complete window of each surface, held against the champion's calibration photographs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from pipeline.drift import Alert, Reference, Statistic, alerts, measure
from pipeline.ports import Clock, DriftStore, PolicyStore, ScoredSample
from pipeline.records import ModelVersion
from pipeline.score import Scorer
from pipeline.settings import Settings
from pipeline.verdict import policy_in_force

HOUR = timedelta(hours=1)


class ScorerRegistry(Protocol):
    """The part of the registry that knows what a version was calibrated on."""

    def resolve(self, alias: str) -> ModelVersion: ...

    def scorer(self, model: ModelVersion) -> Scorer: ...


@dataclass(frozen=True, slots=True)
class DriftSnapshot:
    """One surface's window, as saved."""

    surface: str
    start: datetime
    end: datetime
    statistics: tuple[Statistic, ...]
    alerts: tuple[Alert, ...]


def snapshot(
    drift: DriftStore,
    policies: PolicyStore,
    registry: ScorerRegistry,
    clock: Clock,
    settings: Settings,
    *,
    window: timedelta = HOUR,
) -> list[DriftSnapshot]:
    """Save a snapshot of every surface that the champion scored in the last complete window, and return them.

    Windows start at multiples of their length, so a repeated run writes the same rows. Raises `NotFound` without a
    champion. Runs inside the caller's transaction.
    """
    champion = registry.resolve("champion")
    reference = reference_of(champion, registry.scorer(champion))
    start, end = last_complete_window(clock.now(), window)
    samples = _by_surface(drift, champion.id, start, end)
    statistics = {
        surface: measure(
            of_surface,
            reference,
            policy_in_force(policies, settings, surface),
            photographs_only=surface in settings.retrain.trusted_surfaces,
        )
        for surface, of_surface in samples.items()
    }
    raised = alerts(statistics)
    snapshots = [
        DriftSnapshot(surface, start, end, tuple(of_surface), tuple(a for a in raised if a.surface == surface))
        for surface, of_surface in statistics.items()
    ]
    for snap in snapshots:
        drift.save_snapshot(
            model_id=champion.id,
            surface=snap.surface,
            start=start,
            end=end,
            count=len(samples[snap.surface]),
            statistics={statistic.name: asdict(statistic) for statistic in snap.statistics},
            alerts=[str(alert) for alert in snap.alerts],
        )
    return snapshots


def reference_of(model: ModelVersion, scorer: Scorer) -> Reference:
    """The calibration photographs of a version: scores from its arrays, EXIF shares from its card if it has them."""
    return Reference(
        log_likelihood=scorer.model.calibration_log_likelihood,
        ai_probability=scorer.model.calibration_ai_probability,
        makes=_counts(model.card, "calibration_makes"),
        formats=_counts(model.card, "calibration_formats"),
    )


def last_complete_window(now: datetime, window: timedelta) -> tuple[datetime, datetime]:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    end = now - (now - epoch) % window
    return end - window, end


def _by_surface(drift: DriftStore, model_id: int, start: datetime, end: datetime) -> dict[str, list[ScoredSample]]:
    by_surface: defaultdict[str, list[ScoredSample]] = defaultdict(list)
    for sample in drift.samples(model_id, start, end):
        by_surface[sample.surface].append(sample)
    return dict(sorted(by_surface.items()))


def _counts(card: Mapping[str, Any], key: str) -> dict[str, int] | None:
    counts = card.get(key)
    return None if counts is None else {str(name): int(count) for name, count in counts.items()}
