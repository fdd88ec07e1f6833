"""Verdicts counted by p-value: right at every border, the same at every run, and by an index."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import column, create_engine, func, select, text
from typer.testing import CliRunner

from pipeline.read_out import tell_handling
from pipeline.records import Handling, SurfacePolicy, VerdictKind
from pipeline.store import Stores
from pipeline.store.loose_scan import distinct_values
from pipeline.store.models_review import ScoreCountRow
from pipeline.store.score_counts import p_bin_of
from pipeline.thresholds import ScoreCount, changed, dry_run
from pipeline.verdict import decide
from tests.factories import add_model, add_upload, make_examination, make_score
from tests.servers import settings_for
from workers.bootstrap import Dependencies
from workers.cli import app as cli
from workers.recount import merge_settled, recount

HOUR = timedelta(hours=1)
SOFT = tell_handling(np.eye(len(Handling))[Handling.SOFT])


def add(tx, model, p_value, *, surface="posts", policy=None, **changes):
    """An upload with this score, and the verdict that `moderate` gives it."""
    score = make_score(p_value=p_value, **changes)
    examination = make_examination(score=score)
    upload = add_upload(tx, surface=surface)
    tx.results.save_examination(examination, model)
    return tx.results.save_verdict(upload, examination, decide(examination, policy or SurfacePolicy()), model)


@pytest.fixture
def now(database):
    return database.scalar(text("SELECT date_trunc('hour', now())"))


def rebuild(tx, now):
    return tx.score_counts.rebuild(now - HOUR, now + HOUR)


def test_a_p_value_that_equals_a_threshold_is_in_its_bin(stores, now):
    """A bin too high, and a dry run would lie about the threshold; all of them, since binary fractions round."""
    with stores.transaction() as tx:
        bins = select(p_bin_of(column("p"))).select_from(func.unnest([k / 1000 for k in range(1, 1001)]).alias("p"))
        assert tx.score_counts._session.scalars(bins).all() == list(range(1, 1001))
        add(tx, add_model(tx), 0.0201)
        rebuild(tx, now)
        assert [row.p_bin for row in tx.score_counts.of("posts", now)] == [21]


def test_counts_tell_what_every_threshold_would_have_said(stores, now):
    rng = np.random.default_rng(3)
    kinds = [
        {"exif_predictions": (SOFT,)},
        {"half_size_p_value": 0.02},
        {"half_size_p_value": 0.021},
        {"half_size_p_value": 0.9, "full_size_p_value": 0.02},
        {"half_size_p_value": 0.01, "full_size_p_value": 0.01},
        {"half_size_p_value": None},
    ]
    drawn = [
        (float(p_value), kinds[number % 7] if number % 7 < 6 else {})
        for number, p_value in enumerate(rng.beta(0.4, 1, 60))
    ]
    with stores.transaction() as tx:
        model = add_model(tx)
        for p_value, changes in drawn:
            add(tx, model, p_value, **changes)
        rebuild(tx, now)
        counts = tx.score_counts.of("posts", now)
    for policy in (SurfacePolicy(), SurfacePolicy(0.001, 0.3), SurfacePolicy(0.07, 0.07)):
        told: dict = {}
        for p_value, changes in drawn:
            examination = make_examination(score=make_score(p_value=p_value, **changes))
            move = decide(examination, SurfacePolicy()).kind, decide(examination, policy).kind
            told[move] = told.get(move, 0) + 1
        assert dry_run(counts, policy) == told
    assert changed(dry_run(counts, SurfacePolicy())) == 0


def test_scores_from_before_there_was_a_second_look_are_counted(stores, database, now):
    with stores.transaction() as tx:
        add(tx, add_model(tx), 0.5)
    database.execute(text("UPDATE scores SET full_size_p_value = NULL, half_size_p_value = NULL"))
    with stores.transaction() as tx:
        rebuild(tx, now)
        [count] = tx.score_counts.of("posts", now)
    assert (count.kind, count.is_withheld) == (VerdictKind.CAMERA, False)


def test_a_repeated_run_writes_the_same_rows_and_forgets_what_is_gone(stores, database, now):
    with stores.transaction() as tx:
        model = add_model(tx)
        add(tx, model, 0.5)
        verdict = add(tx, model, 0.01)
        add(tx, model, 0.5)
        assert [rebuild(tx, now), rebuild(tx, now)] == [2, 2]
        both = [
            ScoreCount(10, VerdictKind.NOT_CAMERA, False, 1),
            ScoreCount(500, VerdictKind.CAMERA, False, 2),
        ]
        assert tx.score_counts.of("posts", now) == both
    database.execute(text("DELETE FROM verdicts WHERE id = :id"), {"id": verdict})
    with stores.transaction() as tx:
        rebuild(tx, now)
        assert tx.score_counts.of("posts", now) == both[1:]


def test_each_hour_surface_and_version_counts_for_itself(stores, database, now):
    with stores.transaction() as tx:
        first, second = add_model(tx), add_model(tx)
        old = add(tx, first, 0.5)
        add(tx, second, 0.5)
        add(tx, second, 0.04, surface="avatars")
    database.execute(text("UPDATE verdicts SET created_at = :then WHERE id = :id"), {"then": now - HOUR, "id": old})
    with stores.transaction() as tx:
        rebuild(tx, now)
        assert [row.count for row in tx.score_counts.of("posts", now - HOUR)] == [2]
        assert [row.count for row in tx.score_counts.of("posts", now)] == [1]
        assert tx.score_counts.kinds(["posts", "avatars"], now) == {
            "posts": {VerdictKind.CAMERA: 1},
            "avatars": {VerdictKind.UNSURE: 1},
        }
        tx.policies.save("news", SurfacePolicy(), actor="ann", reason="new", instead_of=None)
        assert tx.score_counts.surfaces() == ["avatars", "news", "posts"]
    assert database.scalar(text("SELECT count(DISTINCT (hour, model_version_id)) FROM score_counts")) == 2


def test_a_merged_day_says_the_same_in_fewer_rows(stores, database, now):
    day = now.replace(hour=0) - timedelta(days=3)
    with stores.transaction() as tx:
        first, second = add_model(tx), add_model(tx)
        verdicts = [add(tx, model, p_value) for model in (first, second) for p_value in (0.01, 0.5, 0.5, 0.5)]
    for number, verdict in enumerate(verdicts):
        then = {"then": day + 3 * number * HOUR, "id": verdict}
        database.execute(text("UPDATE verdicts SET created_at = :then WHERE id = :id"), then)
    rows = text("SELECT count(*) FROM score_counts")
    with stores.transaction() as tx:
        tx.score_counts.rebuild(day, day + 24 * HOUR)
        before, of_hours = tx.score_counts.of("posts", day), database.scalar(rows)
        for _ in range(2):
            tx.score_counts.merge(day)
            assert tx.score_counts.of("posts", day) == before
            assert (of_hours, database.scalar(rows)) == (8, 4)
        tx.score_counts.rebuild(day, day + 24 * HOUR)  # by command: the whole day
        assert tx.score_counts.of("posts", day) == before


@pytest.fixture
def counted(fresh_dsn):
    """Four uploads of three days ago, hours apart; gives what says how they are counted."""
    stores = Stores(settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn).postgres)
    with stores.transaction() as tx:
        model = add_model(tx)
        for _ in range(4):
            add(tx, model, 0.5)
    engine = create_engine(fresh_dsn)
    with engine.begin() as connection:
        spread = "created_at - interval '3 days' - id * interval '2 hours'"
        connection.execute(text(f"UPDATE verdicts SET created_at = {spread}"))  # noqa: S608
    yield lambda: engine.connect().scalars(text("SELECT count FROM score_counts ORDER BY 1")).all()
    engine.dispose()
    stores.close()


def test_past_days_are_counted_by_command_and_merged_by_beat(counted, fresh_dsn, monkeypatch):
    since = datetime.now(UTC) - timedelta(days=5)
    with Dependencies(settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn)) as deps:
        recount(deps, since, deps.clock.now())
        hours = counted()
        merge_settled(deps)
    assert (len(hours), sum(hours)) == (4, 4), "each in an hour of its own"
    merged = counted()
    assert len(merged) < 4
    assert sum(merged) == 4
    monkeypatch.setenv("LENSWATCH_POSTGRES__DSN", fresh_dsn)
    done = CliRunner().invoke(cli, ["counts", "--since", f"{since:%Y-%m-%d}"])
    assert (done.exit_code, done.output) == (0, "4 rows counted\n")
    assert counted() == merged


def test_distinct_values_of_an_empty_table(stores, database):
    with stores.transaction() as tx:
        assert distinct_values(tx.score_counts._session, ScoreCountRow.surface) == []
