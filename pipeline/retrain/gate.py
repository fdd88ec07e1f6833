"""Challenger against champion, on photographs that neither was fitted or calibrated on, and on confirmed AI images.

Both models answer for the same images, so only answers that *changed* tell which is worse: under "no difference" each
change is as likely for the better as for the worse (the exact form of McNemar's test, 1947). "Worse beyond chance": the
95 % Clopper-Pearson interval of the share of changes for the worse lies above one half. A model that is no worse fails
a given check with a probability of at most 2.5 %; that costs a night, never an upload.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.one_class import OneClassModel, clopper_pearson, conformal_p_value
from pipeline.ports import VerifiedPhoto
from pipeline.records import SurfacePolicy

LEAST_SLICE = 20
"""Photographs of a surface or make below which it is not judged on its own."""

LEAST_GENERATED = 20
"""Confirmed AI images without which nobody knows whether they would slip, so no model promotes itself."""

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

    log_likelihood: NDArray[np.float64]
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
    for name, rows in _slices(photos).items():
        not_camera = float(np.mean([promised[row].not_camera_fpr for row in rows]))
        flagged = float(np.mean([promised[row].unsure_fpr for row in rows]))
        checks += [
            _compare(
                "not_camera_fpr", name, old.not_camera[rows], new.not_camera[rows], wrong=True, promised=not_camera
            ),
            _compare("flagged_fpr", name, old.flagged[rows], new.flagged[rows], wrong=True, promised=flagged),
        ]
    return GateReport((*checks, *_recall_checks(generated, champion, challenger, policy_of)))


def worse_beyond_chance(worse: int, better: int) -> bool:
    return clopper_pearson(worse, worse + better).low > 0.5


def _answers(model: OneClassModel, photos: Sequence[VerifiedPhoto], policy_of: Policies) -> _Answers:
    likelihood = model.image.log_likelihood(np.stack([photo.embedding for photo in photos]))
    fused = model.fusion.fuse(likelihood, np.array([photo.ai_probability for photo in photos]))
    p_values = np.array([conformal_p_value(model.calibration_fused, float(value)) for value in fused])
    policies = [policy_of(photo.surface) for photo in photos]
    return _Answers(
        log_likelihood=likelihood,
        not_camera=p_values <= np.array([policy.not_camera_fpr for policy in policies]),
        flagged=p_values <= np.array([policy.unsure_fpr for policy in policies]),
    )


def _slices(photos: Sequence[VerifiedPhoto]) -> Mapping[str, list[int]]:
    """Rows of all photographs, and of each surface and make that has enough of them."""
    slices: defaultdict[str, list[int]] = defaultdict(list)
    for row, photo in enumerate(photos):
        slices[f"surface {photo.surface}"].append(row)
        slices[f"make {photo.make}"].append(row)
    large = {name: rows for name, rows in sorted(slices.items()) if len(rows) >= LEAST_SLICE}
    return {"all photographs": list(range(len(photos))), **large}


def _likelihood_check(old: _Answers, new: _Answers) -> Check:
    """Fails where most photographs become less likely by more than the tolerance, beyond chance."""
    tolerated = LIKELIHOOD_TOLERANCE * float(old.log_likelihood.std())
    worse = int((new.log_likelihood < old.log_likelihood - tolerated).sum())
    better = len(new.log_likelihood) - worse
    return Check(
        name="log_likelihood",
        slice="all photographs",
        count=len(new.log_likelihood),
        passed=not worse_beyond_chance(worse, better),
        champion=float(old.log_likelihood.mean()),
        challenger=float(new.log_likelihood.mean()),
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
    yield _compare("not_camera_recall", "confirmed AI images", old.not_camera, new.not_camera, wrong=False)
    yield _compare("flagged_recall", "confirmed AI images", old.flagged, new.flagged, wrong=False)


def _compare(name: str, where: str, old: Flags, new: Flags, *, wrong: bool, promised: float | None = None) -> Check:
    """Fails where more answers became wrong than right, beyond chance, *and* more images are flagged than was promised:
    a champion that is stricter with itself than its promise may be succeeded by one that just keeps it.

    `wrong` is the wrong answer to "flagged?"; `promised` is None where nothing is.
    """
    worse = int(((new == wrong) & (old != wrong)).sum())
    better = int(((new != wrong) & (old == wrong)).sum())
    kept = promised is not None and float(new.mean()) <= promised
    interval = clopper_pearson(int(new.sum()), len(new))
    return Check(
        name=name,
        slice=where,
        count=len(new),
        passed=kept or not worse_beyond_chance(worse, better),
        champion=float(old.mean()),
        challenger=float(new.mean()),
        challenger_low=interval.low,
        challenger_high=interval.high,
        changed_for_worse=worse,
        changed_for_better=better,
        note="" if promised is None else f"promised {promised:.3g}",
    )
