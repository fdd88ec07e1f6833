"""The nightly job: verified photographs -> refit -> gate -> challenger -> perhaps champion.

Only the one-class model is refitted, on traces that are stored already; the networks stay. No transaction is open
while it fits, which takes minutes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import structlog

from pipeline.drift import MISSING
from pipeline.monitor import ScorerRegistry
from pipeline.one_class import FORMAT, OneClassModel
from pipeline.ports import CONFIRMED_AI, Clock, PolicyStore, TrainingStore, VerifiedPhoto
from pipeline.records import Handling, ModelVersion, SurfacePolicy
from pipeline.retrain.fit import PhotoFeatures, fit_one_class, stratified, view_facts
from pipeline.retrain.gate import GateReport, judge, traces_of
from pipeline.retrain.select import NotEnough, Selection, Side, camera, least_calibration, select, uploader
from pipeline.settings import Settings
from pipeline.verdict import policy_for

log = structlog.get_logger(__name__)

SEED = 0

OVERSAMPLE = 4
"""Photographs read per photograph wanted, so that one keen uploader's newest do not crowd out everyone else's."""


class RefitRegistry(ScorerRegistry, Protocol):
    def publish_refit(
        self, base: ModelVersion, *, name: str, one_class: bytes, card: Mapping[str, Any]
    ) -> ModelVersion:
        """A version with `base`'s networks and this `one_class.npz`; `challenger` points to it afterwards."""
        ...

    def promote(self, name: str, /, *, actor: str, reason: str) -> ModelVersion: ...


class TrainingTransaction(Protocol):
    """A transaction, as far as retraining uses it."""

    @property
    def training(self) -> TrainingStore: ...

    @property
    def policies(self) -> PolicyStore: ...


@dataclass(frozen=True, slots=True)
class RetrainDeps:
    transaction: Callable[[], AbstractContextManager[TrainingTransaction]]
    registry: RefitRegistry
    settings: Settings
    clock: Clock


class Outcome(StrEnum):
    NOT_ENOUGH = "not_enough"
    """Too few photographs; nothing was fitted."""
    REFUSED = "refused"
    """Published as challenger for people to look at; a check failed, or images of it were erased meanwhile."""
    PUBLISHED = "published"
    """Passed every check, and waits for a person to promote it."""
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True)
class RetrainReport:
    outcome: Outcome
    reason: str
    champion: str
    """Whom the night began with."""
    counts: dict[str, int]
    """Photographs that each step left."""
    challenger: str | None = None
    gate: GateReport | None = None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "gate": self.gate and self.gate.as_json()}


def retrain(deps: RetrainDeps) -> RetrainReport:
    """One night. Every outcome is returned and logged. Raises `NotFound` without a champion."""
    report = _retrain(deps)
    log.info(
        "retrain_finished",
        outcome=report.outcome.value,
        reason=report.reason,
        champion=report.champion,
        challenger=report.challenger,
        failed_checks=report.gate.failed if report.gate else [],
        **report.counts,
    )
    return report


def _retrain(deps: RetrainDeps) -> RetrainReport:
    settings = deps.settings
    champion = deps.registry.resolve("champion")
    photos, generated = _read(deps, champion)
    saved = _saved_policies(deps)
    smallest_rate = _smallest_rate(settings, saved)
    chosen = select(photos, settings.retrain, smallest_rate=smallest_rate)
    if isinstance(chosen, NotEnough):
        return RetrainReport(Outcome.NOT_ENOUGH, chosen.reason, champion.name, chosen.counts)
    predecessor = deps.registry.scorer(champion).model
    calibration = _features(chosen.calibration)
    try:
        model, tried = fit_one_class(
            _features(chosen.fit),
            calibration,
            patch=predecessor.patch,
            weigh=lambda views: views.weighing(predecessor.image.weights),
            weights=predecessor.fusion.weights,
            known={name: view.growth for name, view in predecessor.image.by_name.items()},
            seed=SEED,
        )
    except ValueError as error:  # one camera model has nearly all photographs: nothing to choose a configuration by
        return RetrainReport(Outcome.NOT_ENOUGH, str(error), champion.name, chosen.counts)
    handlings = [photo.handling for photo in chosen.calibration]
    model = stratified(model, calibration, handlings, least=least_calibration(smallest_rate))
    gate = judge(
        chosen.held_out,
        generated,
        champion=predecessor,
        challenger=model,
        policy_of=lambda surface: saved.get(surface) or policy_for(settings, surface),
    )
    challenger = deps.registry.publish_refit(
        champion,
        name=f"refit-{deps.clock.now():%Y%m%dT%H%M%SZ}",
        one_class=model.to_bytes(),
        card=_card(champion, chosen, model, tried, gate),
    )
    erased = _record_members(deps, challenger, chosen, generated)
    outcome, reason = _settle(deps, champion, challenger, gate, erased)
    return RetrainReport(outcome, reason, champion.name, chosen.counts, challenger.name, gate)


def _read(deps: RetrainDeps, champion: ModelVersion) -> tuple[list[VerifiedPhoto], list[VerifiedPhoto]]:
    """Verified photographs and confirmed AI images, with embeddings of the champion's encoder."""
    wanted = deps.settings.retrain
    limit = OVERSAMPLE * wanted.max_photos
    with deps.transaction() as transaction:
        photos = transaction.training.verified_photos(
            champion.encoder_version,
            reviewers_needed=wanted.reviewers_needed,
            trusted_surfaces=wanted.trusted_surfaces,
            limit=limit,
        )
        generated = transaction.training.confirmed_ai(
            champion.encoder_version, reviewers_needed=wanted.reviewers_needed, limit=limit
        )
    return photos, generated


def _record_members(
    deps: RetrainDeps, challenger: ModelVersion, chosen: Selection, generated: Sequence[VerifiedPhoto]
) -> int:
    """Write down what the challenger was made from; returns how many of the images were erased while it was."""
    sides = {photo.sha256: CONFIRMED_AI for photo in generated}
    for side in Side:
        sides |= {photo.sha256: side.value for photo in getattr(chosen, side.value)}
    with deps.transaction() as transaction:
        return len(sides) - transaction.training.record_members(challenger.id, sides)


def _settle(
    deps: RetrainDeps, champion: ModelVersion, challenger: ModelVersion, gate: GateReport, erased: int
) -> tuple[Outcome, str]:
    """Promote the challenger, or say why not."""
    if erased:  # after the erasure looked for models that had used them: no report would name this one
        return Outcome.REFUSED, f"{erased} of its images were erased while it was fitted"
    if not gate.passed:
        return Outcome.REFUSED, "; ".join(gate.failed)
    if not deps.settings.retrain.auto_promote:
        return Outcome.PUBLISHED, "auto_promote is off"
    if deps.registry.resolve("champion").id != champion.id:
        return Outcome.PUBLISHED, "the champion that it was judged against is no longer the champion"
    deps.registry.promote(challenger.name, actor="retrain", reason=f"passed {len(gate.checks)} checks")
    return Outcome.PROMOTED, f"passed {len(gate.checks)} checks"


def _card(
    champion: ModelVersion,
    chosen: Selection,
    model: OneClassModel,
    tried: Sequence[Mapping[str, float]],
    gate: GateReport,
) -> dict[str, Any]:
    """The refit's `one_class.json`: the predecessor's facts that still hold, and tonight's."""
    return {
        "format": FORMAT,
        "patch_budget": champion.card.get("patch_budget"),
        "refit_of": champion.name,
        "selection": chosen.counts,
        "fit_photos": len(chosen.fit),
        "calibration_photos": len(chosen.calibration),
        "calibration_photos_by_stratum": {
            kind.name.lower(): count for kind, count in zip(Handling, model.photographs_alike, strict=False)
        },
        "calibration_makes": dict(Counter(photo.make or MISSING for photo in chosen.calibration)),
        "views": view_facts(model.image),
        "tried": list(tried),
        "seed": SEED,
        "calibration_sha256": hashlib.sha256(model.calibration_fused.tobytes()).hexdigest(),
        "gate": gate.as_json(),
    }


def _features(photos: Sequence[VerifiedPhoto]) -> PhotoFeatures:
    return PhotoFeatures(
        traces=traces_of(photos),
        ai_probabilities=np.array([photo.ai_probability for photo in photos]),
        groups=np.array([camera(photo) or uploader(photo) for photo in photos]),
    )


def _saved_policies(deps: RetrainDeps) -> Mapping[str, SurfacePolicy]:
    """Read once: a night that takes minutes must not judge by two policies."""
    with deps.transaction() as transaction:
        return transaction.policies.all_saved()


def _smallest_rate(settings: Settings, saved: Mapping[str, SurfacePolicy]) -> float:
    configured = [policy.not_camera_fpr for policy in (settings.policy, *settings.surfaces.values())]
    return min(configured + [policy.not_camera_fpr for policy in saved.values()])
