"""Challenger against champion, on photographs that neither was fitted or calibrated on, and on confirmed AI images.

Both models answer for the same images, so only answers that *changed* tell which is worse: under "no difference" each
change is as likely for the better as for the worse (the exact form of McNemar's test, 1947). "Worse beyond chance": the
95 % Clopper-Pearson interval of the share of changes for the worse lies above one half. But two honest refits of the
same world do differ, since their calibration photographs do; so each check also knows how much of that is no fault.

Both are asked about what is stored of an image, the first of its two looks (ADR 18).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.one_class import OneClassModel, Traces, clopper_pearson, whole
from pipeline.ports import VerifiedPhoto
from pipeline.records import SurfacePolicy
from pipeline.windows import TOGETHER

LEAST_SLICE = 20
"""Photographs of a surface or make below which it is not judged on its own."""

LEAST_GENERATED = 20
"""Confirmed AI images without which nobody knows whether they would slip, so no model promotes itself."""

BROKEN_PROMISE = 0.01
"""A promise counts as broken where exchangeable photographs would be flagged as often with at most this probability."""

RECALL_TOLERANCE = 0.05
"""Share of confirmed AI images that may slip: what the threshold of a few hundred calibration photographs moves by."""

LIKELIHOOD_TOLERANCE = 0.2
"""Of the standard deviation of the photographs' log-likelihoods. Two fits are never equally good, and with enough
photographs any difference is beyond chance."""

Policies = Callable[[str], SurfacePolicy]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Check:
    """One question to the challenger. Rates are shares of `count` images; None where there was nothing to ask with."""

    name: str
    slice: str
    count: int
    passed: bool
    champion: float | None = None
    challenger: float | None = None
    challenger_low: float | None = None
    """95 % Clopper-Pearson interval of `challenger`."""
    challenger_high: float | None = None
    changed_for_worse: int = 0
    changed_for_better: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class GateReport:
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed, with their slices."""
        return [f"{check.name} on {check.slice}" for check in self.checks if not check.passed]

    def as_json(self) -> dict[str, Any]:
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}


@dataclass(frozen=True, slots=True)
class _Answers:
    """What one model says about n images, each (n,)."""

    log_density: NDArray[np.float64]
    not_camera: Flags
    flagged: Flags
    """`not_camera` or `unsure`."""


def judge(
    photos: Sequence[VerifiedPhoto],
    generated: Sequence[VerifiedPhoto],
    *,
    champion: OneClassModel,
    challenger: OneClassModel,
    policy_of: Policies,
) -> GateReport:
    """Every check. `photos` are held-out verified photographs, `generated` confirmed AI images; both of the champion's
    encoder version."""
    old, new = (_answers(model, photos, policy_of) for model in (champion, challenger))
    promised = [policy_of(photo.surface) for photo in photos]
    checks = [_likelihood_check(old, new)]
    calibrated_on = challenger.smallest_calibration
    for where, rows in _slices(photos).items():
        for name, rate, before, after in (
            ("not_camera_fpr", "not_camera_fpr", old.not_camera, new.not_camera),
            ("flagged_fpr", "unsure_fpr", old.flagged, new.flagged),
        ):
            promise = float(np.mean([getattr(promised[row], rate) for row in rows]))
            checks.append(_false_positives(name, where, before[rows], after[rows], promise, calibrated_on))
    return GateReport((*checks, *_recall_checks(generated, champion, challenger, policy_of)))


def worse_beyond_chance(worse: int, better: int) -> bool:
    return clopper_pearson(worse, worse + better).low > 0.5


def _answers(model: OneClassModel, photos: Sequence[VerifiedPhoto], policy_of: Policies) -> _Answers:
    traces = traces_of(photos)
    likelihood = model.image.log_likelihood(traces)
    fused = model.fusion.fuse(likelihood, np.array([photo.ai_probability for photo in photos]))
    p_values = np.array(
        [model.p_value(float(value), photo.handling) for value, photo in zip(fused, photos, strict=True)]
    )
    policies = [policy_of(photo.surface) for photo in photos]
    return _Answers(
        log_density=model.image.log_density(traces),
        not_camera=p_values <= np.array([policy.not_camera_fpr for policy in policies]),
        flagged=p_values <= np.array([policy.unsure_fpr for policy in policies]),
    )


def traces_of(photos: Sequence[VerifiedPhoto]) -> Traces:
    return Traces.of(
        embedding=np.stack([photo.embedding for photo in photos]),
        self_description=np.stack([photo.self_description for photo in photos]),
        patch_counts=np.array([photo.patch_count for photo in photos]),
    )


def _slices(photos: Sequence[VerifiedPhoto]) -> Mapping[str, list[int]]:
    """Rows of all photographs, and of each surface, make and kind of size that has enough of them."""
    slices: defaultdict[str, list[int]] = defaultdict(list)
    for row, photo in enumerate(photos):
        slices[f"surface {photo.surface}"].append(row)
        slices[f"make {photo.make}"].append(row)
        slices["one window of patches" if photo.patch_count < 2 * TOGETHER else "several windows"].append(row)
    large = {name: rows for name, rows in sorted(slices.items()) if len(rows) >= LEAST_SLICE}
    return {"all photographs": list(range(len(photos))), **large}


def _likelihood_check(old: _Answers, new: _Answers) -> Check:
    """Fails where most photographs become less likely by more than the tolerance, beyond chance.

    In nats: standings would hide it, since each model's are relative to its own photographs.
    """
    tolerated = LIKELIHOOD_TOLERANCE * float(old.log_density.std())
    worse = int((new.log_density < old.log_density - tolerated).sum())
    better = len(new.log_density) - worse
    return Check(
        name="log_likelihood",
        slice="all photographs",
        count=len(new.log_density),
        passed=not worse_beyond_chance(worse, better),
        champion=float(old.log_density.mean()),
        challenger=float(new.log_density.mean()),
        changed_for_worse=worse,
        changed_for_better=better,
        note=f"means, nats; a change under {tolerated:.3g} counts as no worse",
    )


def _recall_checks(
    generated: Sequence[VerifiedPhoto], champion: OneClassModel, challenger: OneClassModel, policy_of: Policies
) -> Iterator[Check]:
    """Fails where confirmed AI images slip beyond chance, and where there are too few to know."""
    if len(generated) < LEAST_GENERATED:
        note = f"{len(generated)} confirmed AI images of {LEAST_GENERATED} needed: a person has to decide"
        yield Check("recall", "confirmed AI images", len(generated), passed=False, note=note)
        return
    old, new = (_answers(model, generated, policy_of) for model in (champion, challenger))
    yield _recall("not_camera_recall", old.not_camera, new.not_camera)
    yield _recall("flagged_recall", old.flagged, new.flagged)


def _false_positives(name: str, where: str, old: Flags, new: Flags, promised: float, calibrated_on: int) -> Check:
    """Fails where the challenger flags more photographs than the champion, beyond chance, *and* breaks its promise.

    Under exchangeability the number flagged of n is beta-binomial: the threshold is the k-th lowest of the calibration
    scores, k = promised (calibrated_on + 1), so the rate behind it is Beta(k, calibrated_on + 1 - k) (Vovk 2012).
    """
    rank = max(whole(promised * (calibrated_on + 1)), 1)
    as_often = float(stats.betabinom.sf(new.sum() - 1, len(new), rank, calibrated_on + 1 - rank))
    worse, better = int((new & ~old).sum()), int((old & ~new).sum())
    passed = as_often > BROKEN_PROMISE or not worse_beyond_chance(worse, better)
    note = f"promised {promised:.3g}; a kept promise flags as many with probability {as_often:.2g}"
    return _check(name, where, old, new, worse, better, passed, note)


def _recall(name: str, old: Flags, new: Flags) -> Check:
    """Fails where more images than tolerated slip, beyond chance."""
    worse, better = int((old & ~new).sum()), int((new & ~old).sum())
    tolerated = int(RECALL_TOLERANCE * len(new))
    passed = not worse_beyond_chance(worse, better + tolerated)
    return _check(name, "confirmed AI images", old, new, worse, better, passed, f"{tolerated} may slip")


def _check(name: str, where: str, old: Flags, new: Flags, worse: int, better: int, passed: bool, note: str) -> Check:
    interval = clopper_pearson(int(new.sum()), len(new))
    return Check(
        name=name,
        slice=where,
        count=len(new),
        passed=passed,
        champion=float(old.mean()),
        challenger=float(new.mean()),
        challenger_low=interval.low,
        challenger_high=interval.high,
        changed_for_worse=worse,
        changed_for_better=better,
        note=note,
    )
