"""The hourly drift snapshot, on real rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import text

from pipeline.errors import NotFound
from pipeline.monitor import last_complete_window, snapshot
from pipeline.records import ExifFacts, ModelVersion, VerdictKind
from pipeline.score import Scorer
from pipeline.settings import Settings
from tests.factories import add_model, add_verdict, make_examination, make_score
from tests.fakes import NOON, FakeClock
from tests.synthetic import first_model, silent_read_out

HOUR = timedelta(hours=1)


class Registry:
    """Resolves in Postgres; the scorer is of the synthetic world."""

    def __init__(self, transaction) -> None:
        self._versions = transaction.versions

    def resolve(self, alias: str) -> ModelVersion:
        return self._versions.resolve(alias)

    def scorer(self, model: ModelVersion) -> Scorer:
        return Scorer(first_model(), silent_read_out(), tags=())


def add_uploads(transaction, model, surface, *, count=60, shift=0.0, make="Apple", not_camera=1):
    """Uploads that score as the calibration photographs did, `shift` nats lower."""
    rng = np.random.default_rng(len(surface))
    likelihoods = rng.choice(first_model().calibration_log_likelihood, count) - shift
    probabilities = rng.choice(first_model().calibration_ai_probability, count)
    for number, (likelihood, probability) in enumerate(zip(likelihoods, probabilities, strict=True)):
        score = make_score(log_likelihood=float(likelihood), ai_probability=float(probability))
        examination = make_examination(score=score, exif=ExifFacts({"Make": make, "Model": "any"}, "exiftool"))
        kind = VerdictKind.NOT_CAMERA if number < not_camera else VerdictKind.CAMERA
        add_verdict(transaction, model, kind, examination=examination, surface=surface)


@pytest.fixture
def an_hour_later(database) -> FakeClock:
    return FakeClock(database.scalar(text("SELECT now()")) + HOUR)


@pytest.fixture
def champion(stores) -> ModelVersion:
    with stores.transaction() as tx:
        model = add_model(tx, card={"calibration_makes": {"Apple": 150, "Canon": 50}})
        tx.versions.point("champion", model.id, actor="tests", reason="first")
    return model


def rows(database) -> dict[str, tuple]:
    found = database.execute(text("SELECT surface, count, alerts, statistics FROM drift_snapshots"))
    return {row.surface: (row.count, row.alerts, row.statistics) for row in found}


def test_each_surface_gets_a_row_and_only_what_drifted_alerts(stores, database, champion, an_hour_later):
    settings = Settings(_env_file=None, retrain={"trusted_surfaces": ["camera-app"]})
    with stores.transaction() as tx:
        add_uploads(tx, champion, "posts", count=200, make="Apple", not_camera=40)
        add_uploads(tx, champion, "avatars", shift=300.0)
        add_uploads(tx, champion, "camera-app", not_camera=20)
        add_uploads(tx, champion, "rare", count=3, shift=300.0)
        snapshots = snapshot(tx.drift, tx.policies, Registry(tx), an_hour_later, settings)
    saved = rows(database)
    assert {surface: count for surface, (count, _, _) in saved.items()} == {
        "posts": 200,
        "avatars": 60,
        "camera-app": 60,
        "rare": 3,
    }
    alerted = {snap.surface: {alert.statistic.name for alert in snap.alerts} for snap in snapshots}
    assert {"log_likelihood_psi", "log_likelihood_wasserstein"} <= alerted["avatars"]
    assert {"not_camera_share", "flagged_share"} <= alerted["camera-app"], "twenty of sixty photographs were flagged"
    assert alerted["posts"] == {"exif_make_psi"}, "one make where there were two; flagged images may be generated"
    assert alerted["rare"] == set()
    _, alerts, statistics = saved["avatars"]
    assert any(alert.startswith("avatars: log_likelihood_psi is ") for alert in alerts)
    assert statistics["log_likelihood_psi"]["p_value"] < 1e-6
    assert saved["rare"][2]["log_likelihood_psi"]["note"] == "too few images: 3 of 50"
    assert statistics["format_psi"]["note"] == "the reference does not say"


def test_a_repeated_run_writes_the_same_rows(stores, database, champion, an_hour_later):
    with stores.transaction() as tx:
        add_uploads(tx, champion, "posts")
        first = snapshot(tx.drift, tx.policies, Registry(tx), an_hour_later, Settings(_env_file=None))
        again = snapshot(tx.drift, tx.policies, Registry(tx), replace(an_hour_later), Settings(_env_file=None))
    assert first == again
    assert len(rows(database)) == 1


def test_only_the_champions_uploads_of_the_window_count(stores, database, champion, an_hour_later):
    with stores.transaction() as tx:
        add_uploads(tx, add_model(tx), "posts", count=5)
        assert snapshot(tx.drift, tx.policies, Registry(tx), an_hour_later, Settings(_env_file=None)) == []
        add_uploads(tx, champion, "posts", count=5)
        an_hour_later.advance(hours=1)
        assert snapshot(tx.drift, tx.policies, Registry(tx), an_hour_later, Settings(_env_file=None)) == []


def test_without_a_champion_there_is_nothing_to_compare_with(stores, an_hour_later):
    with stores.transaction() as tx, pytest.raises(NotFound):
        snapshot(tx.drift, tx.policies, Registry(tx), an_hour_later, Settings(_env_file=None))


@pytest.mark.parametrize(
    ("minutes", "start"),
    [
        (0, -60),  # on the hour: the one that just ended
        (5, -60),
        (59, -60),
        (60, 0),
    ],
)
def test_the_last_complete_window(minutes, start):
    expected = NOON + timedelta(minutes=start)
    assert last_complete_window(NOON + timedelta(minutes=minutes), HOUR) == (expected, expected + HOUR)
