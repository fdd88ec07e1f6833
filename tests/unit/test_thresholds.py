"""What thresholds would do, counted: monotone, complete, and as the verdicts themselves decide."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import thresholds
from pipeline.one_class import clopper_pearson, whole
from pipeline.records import Label, SurfacePolicy, VerdictKind
from pipeline.thresholds import (
    KnownCount,
    ScoreCount,
    at_most,
    changed,
    dry_run,
    effect,
    false_alarms,
    histogram,
    tenths_of_percent,
    totals,
    window_start,
    would_be,
)
from tests.fakes import NOON

CAMERA, UNSURE, NOT_CAMERA = VerdictKind.CAMERA, VerdictKind.UNSURE, VerdictKind.NOT_CAMERA
DEFAULT = SurfacePolicy()

tenths = st.integers(1, 500)
policies = st.tuples(tenths, tenths).map(lambda pair: SurfacePolicy(min(pair) / 1000, max(pair) / 1000))
kinds = st.sampled_from([CAMERA, UNSURE, NOT_CAMERA])
counts = st.lists(st.builds(ScoreCount, st.integers(1, 1000), kinds, st.booleans(), st.integers(1, 9)), max_size=30)


@pytest.mark.parametrize(
    ("p_bin", "withheld", "kind"),
    [
        (1, False, NOT_CAMERA),
        (20, False, NOT_CAMERA),  # p <= 0.020: the border belongs to the promise
        (21, False, UNSURE),
        (100, False, UNSURE),
        (101, False, CAMERA),
        (1000, False, CAMERA),
        (1000, True, UNSURE),  # soft, or strange at one size alone
        (20, True, NOT_CAMERA),
    ],
)
def test_a_bin_is_judged_as_its_verdicts_are(p_bin, withheld, kind):
    assert would_be(ScoreCount(p_bin, CAMERA, withheld, 1), DEFAULT) is kind


@pytest.mark.parametrize(("places", "expected"), [(0.29 * 100, 29), (0.02 * 211, 4), (3.0, 3), (2.999, 2)])
def test_places_are_counted_as_in_decimal(places, expected):
    assert whole(places) == expected


@given(counts, policies)
def test_no_image_is_lost_and_none_is_won(rows, policy):
    moves = dry_run(rows, policy)
    assert sum(moves.values()) == sum(row.count for row in rows) == sum(totals(moves).values())
    for kind in VerdictKind:
        as_given = sum(count for (given_as, _), count in moves.items() if given_as is kind)
        assert as_given == sum(row.count for row in rows if row.kind is kind)


@given(counts, policies, tenths)
def test_a_higher_threshold_flags_no_fewer(rows, policy, more):
    higher = SurfacePolicy(policy.not_camera_fpr + more / 1000, policy.unsure_fpr + more / 1000)
    before, after = totals(dry_run(rows, policy)), totals(dry_run(rows, higher))
    assert after[NOT_CAMERA] >= before[NOT_CAMERA]
    assert after[CAMERA] <= before[CAMERA]


@given(counts, policies)
def test_a_policy_that_gave_the_verdicts_changes_none(rows, policy):
    given_by_it = [ScoreCount(row.p_bin, would_be(row, policy), row.is_withheld, row.count) for row in rows]
    assert changed(dry_run(given_by_it, policy)) == 0


@pytest.mark.parametrize(
    ("days", "start"),
    [
        (1, datetime(2026, 1, 1, 12, tzinfo=UTC)),  # by the hour
        (2, datetime(2025, 12, 31, tzinfo=UTC)),  # a day that is merged is inside or outside, never cut
    ],
)
def test_where_a_window_begins(days, start):
    assert window_start(NOON + timedelta(minutes=7), days) == start


def test_settings_that_no_slider_can_say_are_rounded():
    assert tenths_of_percent(SurfacePolicy(0.0155, 0.0994, 2)) == SurfacePolicy(0.016, 0.099, 2)


def test_known_images_are_caught_or_wronged():
    known = [
        KnownCount(5, Label.NOT_CAMERA, 8),
        KnownCount(60, Label.NOT_CAMERA, 1),
        KnownCount(700, Label.NOT_CAMERA, 1),
        KnownCount(15, Label.CAMERA, 1),
        KnownCount(400, Label.CAMERA, 19),
    ]
    found = effect([], known, DEFAULT, days=1, calibrated_on=None)
    assert [(share.hits, share.count) for share in (found.caught, found.caught_or_unsure)] == [(8, 10), (9, 10)]
    assert [(share.hits, share.count) for share in (found.wronged, found.wronged_or_unsure)] == [(1, 20), (1, 20)]
    assert found.caught.interval == clopper_pearson(8, 10)
    nobody = at_most([], Label.CAMERA, 0.02)
    assert (nobody.value, nobody.interval.low, nobody.interval.high) == (None, 0.0, 1.0)


def test_false_alarms_a_day_hold_for_photographs_like_the_calibration_ones():
    """500 days of 1000 photographs, each with calibration photographs of its own."""
    rng = np.random.default_rng(5)
    calibrated_on, rate = 400, 0.02
    days = []
    for _ in range(500):
        threshold = np.sort(rng.random(calibrated_on))[int(rate * (calibrated_on + 1)) - 1]
        days.append((rng.random(1000) <= threshold).sum())
    expected = false_alarms(1000, rate, calibrated_on)
    assert expected.mean == pytest.approx(np.mean(days), rel=0.05)
    inside = np.mean([(expected.low <= day <= expected.high) for day in days])
    assert 0.93 <= inside <= 0.98
    plain = false_alarms(1000, rate, None)
    assert (plain.mean, plain.high - plain.low < expected.high - expected.low) == (20.0, True)


def test_the_interval_of_many_photographs_goes_on_where_that_of_fewer_ends():
    exact, many = (false_alarms(photographs, 0.02, 210) for photographs in (thresholds.MANY, thresholds.MANY + 1))
    assert (many.mean, many.low, many.high) == pytest.approx((exact.mean, exact.low, exact.high), rel=0.03)


def test_no_alarm_without_photographs_or_where_no_p_value_is_so_small():
    assert false_alarms(0, 0.02, 400).high == 0
    assert false_alarms(1000, 0.002, 400).high == 0


def test_the_histogram_counts_everything_once():
    rows = [ScoreCount(1, CAMERA, False, 2), ScoreCount(10, CAMERA, True, 3), ScoreCount(11, CAMERA, False, 4)]
    assert histogram([*rows, ScoreCount(301, CAMERA, False, 5)], up_to=300, width=10) == ([5, 4, *[0] * 28], 5)


def test_effect_of_a_window():
    as_given = ((10, NOT_CAMERA, 30), (50, UNSURE, 20), (500, CAMERA, 50))
    rows = [ScoreCount(p_bin, kind, False, count) for p_bin, kind, count in as_given]
    found = effect(rows, [], SurfacePolicy(0.05, 0.1), days=0.5, calibrated_on=None)
    assert found.verdicts == {NOT_CAMERA: 50, CAMERA: 50}
    assert (found.alarms.mean, found.flagged_alarms.mean) == (10.0, 20.0), "of 200 a day"
