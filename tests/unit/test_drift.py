"""Drift statistics: what they say, when they keep silent, and that their false-alarm rates are what they claim."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from pipeline.drift import (
    MISSING,
    QUIET,
    Reference,
    Statistic,
    alerts,
    category_stability,
    flagged_share,
    measure,
    missing_stability,
    population_stability,
    wasserstein,
)
from pipeline.ports import ScoredSample
from pipeline.records import SurfacePolicy

WINDOWS = 400
HARDLY_EVER = int(stats.binom.isf(1e-4, WINDOWS, QUIET))
"""Alarms in 400 quiet windows that a rate of 1 % exceeds once in 10,000 runs."""


@pytest.mark.parametrize(
    ("n", "m"),
    [
        (50, 300),  # the smallest window that is judged
        (100, 100),  # the case where a fixed limit of 0.1 rings in 85 % of quiet windows
        (1000, 300),  # more images than reference photographs: the reference's own chance dominates
    ],
)
def test_quiet_windows_pass_limits_no_more_often_than_promised(n, m):
    rng = np.random.default_rng(7)
    shares = 1 / np.arange(1, 31)  # a few makes lead, many are rare
    rings = Counter()
    for _ in range(WINDOWS):
        window, reference = rng.standard_t(4, n), rng.standard_t(4, m)  # heavy tails, as log-likelihoods have
        makes, known = (Counter(map(str, rng.choice(30, k, p=shares / shares.sum()))) for k in (n, m))
        rings["psi"] += population_stability("psi", window, reference).beyond_limit
        rings["makes"] += category_stability("makes", makes, known).beyond_limit
        rings["flagged"] += flagged_share("flagged", int(rng.binomial(n, 0.02)), n, 0.02).beyond_limit
    assert {name: count for name, count in rings.items() if count > HARDLY_EVER} == {}


def test_quiet_windows_pass_the_wasserstein_limit_no_more_often_than_promised():
    rng = np.random.default_rng(7)
    quiet = [wasserstein("w1", rng.standard_t(4, 50), rng.standard_t(4, 100)) for _ in range(WINDOWS)]
    assert sum(statistic.beyond_limit for statistic in quiet) <= HARDLY_EVER
    assert all(statistic.false_alarm_rate < 2 * QUIET for statistic in quiet)


def test_a_fixed_psi_limit_would_ring_where_ours_is_quiet():
    rng = np.random.default_rng(3)
    windows = [population_stability("psi", rng.normal(size=100), rng.normal(size=100)) for _ in range(200)]
    assert np.mean([window.value > 0.1 for window in windows]) > 0.7
    assert np.mean([window.beyond_limit for window in windows]) < 0.05


@pytest.mark.parametrize(
    ("shift", "scale"),
    [
        (-1.0, 1.0),  # every image less likely
        (0.0, 2.0),  # same centre, wider
    ],
)
def test_a_drifted_score_passes_both_limits(shift, scale):
    rng = np.random.default_rng(0)
    window, reference = rng.normal(shift, scale, 500), rng.normal(size=1000)
    for statistic in (population_stability("psi", window, reference), wasserstein("w1", window, reference)):
        assert statistic.beyond_limit
        assert statistic.p_value < 1e-6


def test_wasserstein_is_the_distance_in_the_scores_own_unit():
    reference = np.random.default_rng(0).normal(size=300)
    assert wasserstein("w1", reference + 2.5, reference).value == pytest.approx(2.5)
    window = np.random.default_rng(1).normal(1, 2, 100)
    assert wasserstein("w1", window, reference).value == pytest.approx(stats.wasserstein_distance(window, reference))


@pytest.mark.parametrize(
    ("flagged", "beyond"),
    [
        (20, False),  # exactly what was promised
        (31, False),  # P(X >= 31) = 1.1 %
        (32, True),  # P(X >= 32) = 0.6 %
    ],
)
def test_flagged_share_is_judged_by_the_exact_binomial(flagged, beyond):
    statistic = flagged_share("not_camera_share", flagged, 1000, 0.02)
    assert statistic.beyond_limit is beyond
    assert statistic.p_value == pytest.approx(stats.binom.sf(flagged - 1, 1000, 0.02))
    assert statistic.false_alarm_rate == pytest.approx(stats.binom.sf(31, 1000, 0.02))


@pytest.mark.parametrize(
    ("window", "beyond"),
    [
        ({"Apple": 250, "Canon": 250}, False),  # as in the reference
        ({"Apple": 500}, True),  # a make is gone
        ({"Apple": 200, "Canon": 200, "Xiaomi": 100}, True),  # a make that the reference never saw
        ({"Apple": 248, "Canon": 247, "Rollei": 5}, False),  # a few of a rare one
    ],
)
def test_makes(window, beyond):
    reference = {"Apple": 500, "Canon": 495, "Rollei": 5}
    assert category_stability("exif_make_psi", window, reference).beyond_limit is beyond


@pytest.mark.parametrize(
    ("window", "reference", "beyond"),
    [
        ({"Apple": 450, MISSING: 50}, {"Apple": 900, MISSING: 100}, False),  # one in ten, as before
        ({"Apple": 250, MISSING: 250}, {"Apple": 900, MISSING: 100}, True),  # a client began to strip EXIF
        ({"Apple": 500}, {"Apple": 800, MISSING: 200}, True),  # ... or to write it
        ({"Apple": 100, MISSING: 400}, {"Apple": 1000}, False),  # the reference was chosen for having EXIF
        ({"Apple": 100, MISSING: 400}, None, False),  # nothing known
    ],
)
def test_missing_exif(window, reference, beyond):
    assert missing_stability("exif_missing_psi", window, reference).beyond_limit is beyond


@pytest.mark.parametrize(
    ("n", "m", "says"),
    [
        (49, 1000, "too few images: 49 of 50"),
        (1000, 20, "too few reference photographs: 20 of 50"),
    ],
)
def test_too_few_samples_say_so_and_raise_nothing(n, m, says):
    window, reference = np.full(n, -1e6), np.zeros(m)
    for statistic in (population_stability("psi", window, reference), wasserstein("w1", window, reference)):
        assert statistic.value is None
        assert statistic.note == says
        assert alerts({"default": [statistic]}) == []


def test_saturated_scores_are_not_drift():
    """A confident detector gives many photographs the very same probability, so deciles coincide."""
    reference = np.concatenate([np.zeros(900), np.linspace(0.1, 1, 100)])
    window = np.concatenate([np.zeros(450), np.linspace(0.1, 1, 50)])
    assert not population_stability("psi", window, reference).beyond_limit
    assert population_stability("psi", np.ones(500), reference).beyond_limit
    assert wasserstein("w1", np.zeros(100), np.zeros(100)).value is None


def cell(p_value: float, value: float = 1.0) -> Statistic:
    return Statistic("psi", 100, value, limit=0.5, p_value=p_value, false_alarm_rate=0.01)


@pytest.mark.parametrize(
    ("cells", "raised"),
    [
        ([cell(0.009)], 1),  # alone, under 1 %
        ([cell(0.009), *[cell(0.5)] * 9], 0),  # one in ten at 0.9 %: that is chance
        ([cell(0.009)] * 10, 10),  # all ten at 0.9 %: that is not
        ([cell(1e-9, value=0.4)], 0),  # certain, but too small to matter
        ([Statistic("psi", 3, note="too few")], 0),
    ],
)
def test_alerts_hold_over_all_cells_together(cells, raised):
    assert len(alerts({f"surface-{i}": [statistic] for i, statistic in enumerate(cells)})) == raised


def test_an_alert_says_what_drifted_by_how_much_and_how_often_it_is_wrong():
    (alert,) = alerts({"avatars": [cell(0.001, value=0.75)]})
    assert str(alert) == (
        "avatars: psi is 0.75, limit 0.5 (100 images, p = 0.001; "
        "a quiet window passes this limit with probability 0.01)"
    )


@pytest.mark.parametrize(
    ("photographs_only", "raised"),
    [
        (True, {"not_camera_share", "flagged_share"}),  # every upload is a photograph: the promise is broken
        (False, set()),  # generated images are flagged rightly
    ],
)
def test_a_promise_for_photographs_binds_only_where_all_uploads_are(photographs_only, raised):
    rng = np.random.default_rng(6)
    reference = Reference(rng.normal(size=500), np.full(500, 0.1), makes={"Apple": 500})
    kinds = ["camera"] * 200 + ["not_camera"] * 100
    window = [ScoredSample("avatars", float(rng.normal()), 0.1, kind, "JPEG", "Apple") for kind in kinds]
    measured = measure(window, reference, SurfacePolicy(), photographs_only=photographs_only)
    assert {alert.statistic.name for alert in alerts({"avatars": measured})} == raised
    assert {s.name: s.value for s in measured}["not_camera_share"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("unsure_fpr", "promised"), [(0.10, 0.12), (0.005, 0.04)])
def test_photographs_that_are_strange_at_one_size_alone_are_allowed_for(unsure_fpr, promised):
    """`camera` is withheld from all of them, however low the second threshold is."""
    reference = Reference(np.zeros(500), np.full(500, 0.1), makes={"Apple": 500})
    window = [ScoredSample("avatars", 0.0, 0.1, "unsure", "JPEG", "Apple")] * 300
    measured = measure(window, reference, SurfacePolicy(0.004, unsure_fpr), photographs_only=True)
    [flagged] = [statistic for statistic in measured if statistic.name == "flagged_share"]
    assert flagged.limit == flagged_share("flagged_share", 300, 300, promised).limit
