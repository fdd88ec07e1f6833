"""The gate: a challenger that is worse is told from one that is not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.one_class import VIEWS, Fusion, OneClassModel, Traces, View, Views
from pipeline.ports import VerifiedPhoto
from pipeline.records import Handling, SurfacePolicy
from pipeline.retrain.fit import MixtureChoice, fit_views
from pipeline.retrain.gate import LEAST_GENERATED, _recall, judge, worse_beyond_chance

SIZES = (24, 72, 72)
"""Of an embedding, and of the means and deviations of a self-description of one scale."""
MIXING = [np.random.default_rng(size).normal(size=(size, size)) * 1.2 / size**0.5 for size in SIZES]
OFF_CAMERA = np.random.default_rng(2).normal(size=sum(SIZES)) * np.repeat([(24 / size) ** 0.5 for size in SIZES], SIZES)
"""Where generated images lie, seen from photographs."""


def photographs(count: int, seed: int, *, shift: float = 0.0) -> np.ndarray:
    """Embeddings and self-descriptions side by side, (count, 168). `shift` 0: of cameras; 1: of generators."""
    rng = np.random.default_rng(seed)
    return np.hstack([rng.normal(size=(count, len(mixing))) @ mixing for mixing in MIXING]) + shift * OFF_CAMERA


def seen(rows: np.ndarray) -> Traces:
    return Traces.of(rows[:, : SIZES[0]], rows[:, SIZES[0] :], np.full(len(rows), 16))


def fitted(rows: np.ndarray, calibration: np.ndarray) -> OneClassModel:
    chosen = {view: MixtureChoice(view, 8, 2, 0) for view in VIEWS}
    image = fit_views(seen(rows), seen(calibration), seen(calibration), chosen, seed=0)
    likelihood = image.log_likelihood(seen(calibration))
    fusion = Fusion(float(likelihood.mean()), float(likelihood.std()), 1.0, 0.0)
    return OneClassModel(
        image=image,
        patch=image.embedding.mixture,
        fusion=fusion,
        calibration_log_likelihood=np.sort(likelihood),
        calibration_ai_probability=np.full(len(calibration), 0.1),
        calibration_fused=np.sort(fusion.fuse(likelihood, np.full(len(calibration), 0.1))),
    )


def verified(rows: np.ndarray, *, makes: tuple[str, ...] = ("Apple",), surface: str = "default"):
    return [
        VerifiedPhoto(str(number), None, makes[number % len(makes)], "any", surface, row[:24], row[24:], 16, 0.1)
        for number, row in enumerate(rows)
    ]


def policy_of(surface: str) -> SurfacePolicy:
    return SurfacePolicy()


@pytest.fixture(scope="module")
def champion() -> OneClassModel:
    return fitted(photographs(200, 10), photographs(200, 11))


@pytest.fixture(scope="module")
def good() -> OneClassModel:
    """Of the same world, with more photographs."""
    return fitted(photographs(400, 20), photographs(400, 21))


@pytest.fixture(scope="module")
def poisoned() -> OneClassModel:
    """A third of what it was fitted and calibrated on was generated."""
    fit, calibration = (
        np.concatenate([photographs(200, seed), photographs(100, seed + 1, shift=1)]) for seed in (30, 40)
    )
    return fitted(fit, calibration)


@pytest.fixture(scope="module")
def blind_to_sony() -> OneClassModel:
    """Fitted on cameras unlike those of one make."""
    narrow = photographs(300, 50)
    return fitted(narrow[narrow @ OFF_CAMERA < 0], photographs(300, 51)[:150] * 0.3)


HELD_OUT = verified(photographs(300, 60), makes=("Apple", "Sony", "Canon"))
GENERATED = verified(photographs(60, 61, shift=1))


def test_a_model_of_the_same_world_passes(champion, good):
    report = judge(HELD_OUT, GENERATED, champion=champion, challenger=good, policy_of=policy_of)
    assert report.failed == []
    assert report.passed


def test_the_champion_is_no_worse_than_itself(champion):
    report = judge(HELD_OUT, GENERATED, champion=champion, challenger=champion, policy_of=policy_of)
    assert report.passed
    assert {check.changed_for_worse for check in report.checks} == {0}


def test_a_poisoned_model_lets_confirmed_ai_images_slip(champion, poisoned):
    report = judge(HELD_OUT, GENERATED, champion=champion, challenger=poisoned, policy_of=policy_of)
    assert not report.passed
    assert "flagged_recall on confirmed AI images" in report.failed
    recall = next(check for check in report.checks if check.name == "flagged_recall")
    assert recall.champion > 0.8 > 0.3 > recall.challenger
    assert recall.challenger_low < recall.challenger < recall.challenger_high


def test_each_photograph_is_asked_about_among_those_that_were_handled_alike(champion, good):
    """A stratum whose threshold is far too high shows, though all photographs together would not."""
    photos = [replace(photo, handling=Handling(row % 3)) for row, photo in enumerate(verified(photographs(300, 60)))]
    low, high = good.calibration_fused, good.calibration_fused + 3
    generated = verified(photographs(40, 61, shift=1))
    for strata, passed in (((low, low, low), True), ((low, low, high), False)):
        challenger = replace(good, strata=strata)
        report = judge(photos, generated, champion=champion, challenger=challenger, policy_of=policy_of)
        assert ("not_camera_fpr on all photographs" not in report.failed) is passed


def test_a_narrow_model_flags_too_many_photographs(champion, blind_to_sony):
    report = judge(HELD_OUT, GENERATED, champion=champion, challenger=blind_to_sony, policy_of=policy_of)
    assert "not_camera_fpr on all photographs" in report.failed


def test_a_slice_that_got_worse_is_named(champion):
    """Scans were among the champion's photographs; the challenger has forgotten them."""
    scans = photographs(60, 70, shift=-1)
    knows_scans = fitted(
        np.concatenate([photographs(200, 10), scans[:40]]), np.concatenate([photographs(200, 11), scans[40:]])
    )
    held_out = [*HELD_OUT, *verified(photographs(40, 71, shift=-1), makes=("Epson",), surface="scans")]
    report = judge(held_out, GENERATED, champion=knows_scans, challenger=champion, policy_of=policy_of)
    assert {"not_camera_fpr on surface scans", "not_camera_fpr on make Epson"} <= set(report.failed)
    assert not {"not_camera_fpr on surface default", "not_camera_fpr on make Sony"} & set(report.failed)


@pytest.mark.parametrize(
    ("calibrated_lower", "passed"),
    [
        (0.5, True),  # more false alarms than the champion's none, yet within the promise
        (-0.5, False),  # ... and beyond it
    ],
)
def test_a_challenger_may_use_what_the_policy_promises(champion, calibrated_lower, passed):
    """A champion that flags no photograph at all may be succeeded by one that keeps its promise."""
    silent = replace(champion, calibration_fused=champion.calibration_fused - 100)
    challenger = replace(champion, calibration_fused=champion.calibration_fused - calibrated_lower)
    report = judge(HELD_OUT, GENERATED, champion=silent, challenger=challenger, policy_of=policy_of)
    flagged = next(check for check in report.checks if check.name == "flagged_fpr")
    assert flagged.champion == 0 < flagged.challenger
    assert worse_beyond_chance(flagged.changed_for_worse, flagged.changed_for_better)
    assert flagged.passed is passed


def test_a_likelihood_that_is_a_little_lower_is_no_reason(champion):
    """A fit of other photographs is a little better or worse for nearly all; that must not cost every other night."""
    view = champion.image.embedding
    lower = replace(view.mixture, weights=view.mixture.weights * np.exp(-0.5))  # half a nat, for every photograph
    challenger = replace(champion, image=replace(champion.image, embedding=replace(view, mixture=lower)))
    report = judge(HELD_OUT, GENERATED, champion=champion, challenger=challenger, policy_of=policy_of)
    likelihood = report.checks[0]
    assert likelihood.challenger < likelihood.champion
    assert likelihood.passed


def widened(view: View, features: np.ndarray) -> View:
    """Twice as wide in every direction, and standardised anew: photographs stand there where they stood."""
    wide = replace(view, mixture=replace(view.mixture, precision_cholesky=view.mixture.precision_cholesky / 2))
    nats = wide.mixture.log_likelihood(features / view.scale)
    return replace(wide, median=np.array([np.median(nats)]), spread=np.array([nats.std()]))


def test_a_model_that_describes_photographs_worse_is_refused(champion, good):
    """Recalibrated, a needlessly wide mixture may flag as often as a sharp one; its likelihood tells."""
    traces = seen(photographs(200, 11))
    image = Views(**{name: widened(view, getattr(traces, name)) for name, view in good.image.by_name.items()})
    challenger = replace(good, image=image, calibration_fused=good.calibration_fused)
    report = judge(HELD_OUT, GENERATED, champion=champion, challenger=challenger, policy_of=policy_of)
    assert "log_likelihood on all photographs" in report.failed
    likelihood = report.checks[0]
    assert likelihood.challenger < likelihood.champion


@pytest.mark.parametrize(
    ("slipped", "passed"),
    [
        (0, True),
        (12, True),  # of 100, where 5 may: 12 against 5 is within chance
        (17, False),
    ],
)
def test_a_few_slips_are_what_a_threshold_moves_by(slipped, passed):
    before = np.ones(100, dtype=bool)
    assert _recall("flagged_recall", before, np.arange(100) >= slipped).passed is passed


@pytest.mark.parametrize("count", [0, LEAST_GENERATED - 1])
def test_without_confirmed_ai_images_no_model_promotes_itself(champion, good, count):
    report = judge(HELD_OUT, GENERATED[:count], champion=champion, challenger=good, policy_of=policy_of)
    assert report.failed == ["recall on confirmed AI images"]
    assert "a person has to decide" in report.checks[-1].note


def test_small_slices_are_not_judged_alone(champion, good):
    few = [*HELD_OUT, *verified(photographs(19, 62), makes=("Leica",))]
    report = judge(few, GENERATED, champion=champion, challenger=good, policy_of=policy_of)
    slices = {check.slice for check in report.checks}
    assert {"all photographs", "surface default", "make Apple", "make Sony"} <= slices
    assert "make Leica" not in slices


@pytest.mark.parametrize(
    ("worse", "better", "beyond"),
    [
        (0, 0, False),  # nothing changed
        (5, 0, False),  # 2 * 0.5^5 = 6 %
        (6, 0, True),  # 3 %... one-sided 1.6 %
        (10, 4, False),
        (60, 30, True),
        (0, 50, False),  # better
    ],
)
def test_worse_beyond_chance(worse, better, beyond):
    assert worse_beyond_chance(worse, better) is beyond


def test_a_gate_rarely_refuses_what_is_no_worse():
    """Under no difference each change is a coin toss; a check may fail with a probability of at most 2.5 %."""
    tosses = np.random.default_rng(0).binomial(30, 0.5, 2000)
    assert np.mean([worse_beyond_chance(int(worse), 30 - int(worse)) for worse in tosses]) < 0.03


def test_the_report_goes_into_the_card(champion, good):
    report = judge(HELD_OUT, GENERATED, champion=champion, challenger=good, policy_of=policy_of)
    card = json.loads(json.dumps(report.as_json()))
    assert card["passed"] is True
    assert len(card["checks"]) == len(report.checks)
