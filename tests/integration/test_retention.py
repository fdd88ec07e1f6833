"""Rows that were kept long enough, on a real Postgres."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from pipeline.errors import NotFound
from pipeline.records import EventKind, VerdictKind
from pipeline.retention import Family, RetentionDeps, remove_expired
from pipeline.settings import RetentionSettings, Settings
from pipeline.store import Stores
from pipeline.store.retention import expired
from tests.factories import add_model, add_upload, add_verdict, make_event, make_examination
from tests.fakes import FakeClock, FakeObjectStore
from tests.reviewing import say, waiting
from tests.servers import settings_for

DAY = timedelta(days=1)
FOR_EVER = dict.fromkeys(Family)
EVERYTHING = RetentionSettings(**dict.fromkeys(Family, DAY))


@pytest.fixture
def in_two_days() -> FakeClock:
    """Every row that a test writes is older than a day by then."""
    return FakeClock(datetime.now(UTC) + 2 * DAY)


@pytest.fixture
def run(stores, in_two_days):
    def run(**ages) -> Counter[str]:
        settings = RetentionSettings(**{**FOR_EVER, **ages})
        return remove_expired(RetentionDeps(stores.transaction, FakeObjectStore(), "models", settings, in_two_days))

    return run


@pytest.fixture
def model(stores):
    with stores.transaction() as tx:
        return add_model(tx)


def ids(database, table="uploads") -> list[int]:
    return list(database.scalars(text(f"SELECT id FROM {table} ORDER BY id")))  # noqa: S608


def test_a_finished_upload_goes_with_all_that_hangs_on_it(stores, database, model, run):
    with stores.transaction() as tx:
        add_verdict(tx, model, VerdictKind.UNSURE)
        [item] = waiting(tx)
        say(tx, item.id)
    assert run(uploads=DAY) == {
        "uploads": 1,
        "announcements": 1,
        "verdicts": 1,
        "review_items": 1,
        "decisions": 1,
        "media": 1,
        "exif": 1,
        "scores": 1,
        "embeddings": 1,
    }
    assert len(ids(database, "audit_log")) == 1, "who decided what has an age of its own"
    assert run(audit_log=DAY) == {"audit_log": 1}


def test_bytes_stay_while_another_upload_has_them(stores, database, model, run):
    examination = make_examination()
    with stores.transaction() as tx:
        add_verdict(tx, model, examination=examination)
        add_verdict(tx, model, examination=examination, surface="young")
    database.execute(text("UPDATE uploads SET received_at = received_at + interval '2 days' WHERE surface = 'young'"))
    assert run(uploads=DAY) == {"uploads": 1, "announcements": 1, "verdicts": 1}
    with stores.transaction() as tx:
        assert tx.results.find_examination(examination.sha256, model) is not None


def test_nothing_goes_that_is_unfinished_open_undelivered_or_in_use(stores, database, model, run):
    trained = make_examination()
    with stores.transaction() as tx:
        add_upload(tx)
        add_verdict(tx, model, VerdictKind.UNSURE)
        dead = add_upload(tx)
        tx.results.bury(dead.id, stage="moderate", reason="StoreUnavailable", detail="")
        add_verdict(tx, model, callback="feed")
        add_verdict(tx, model, examination=trained)
        tx.training.record_members(model.id, {trained.sha256: "calibration"})
        tx.versions.point("champion", model.id, actor="tests", reason="")
    before = ids(database)
    assert run(uploads=DAY, webhooks=DAY, dead_letters=DAY) == {}
    assert ids(database) == before
    with stores.transaction() as tx:
        other = add_model(tx)
        tx.versions.point("champion", other.id, actor="tests", reason="no longer in use")
        tx.dead_letters.drop(tx.dead_letters.waiting()[0].id, actor="ann")
        [delivery] = tx.outbox.claim(limit=1, lease=DAY)
        tx.outbox.delivered(delivery.id)
        say(tx, waiting(tx)[0].id)
    assert run(uploads=DAY)["uploads"] == 4
    assert len(ids(database)) == 1, "the one that waits for its verdict"


def test_embeddings_of_a_serving_model_stay(stores, database, model, run):
    trained = make_examination()
    with stores.transaction() as tx:
        add_verdict(tx, model, examination=trained)
        add_verdict(tx, model)
        tx.training.record_members(model.id, {trained.sha256: "fit"})
        tx.versions.point("challenger", model.id, actor="tests", reason="")
    assert run(embeddings=DAY) == {"embeddings": 1}
    assert database.scalar(text("SELECT sha256 FROM embeddings")) == trained.sha256


def test_each_family_has_an_age_of_its_own(stores, database, model, run):
    with stores.transaction() as tx:
        verdict = add_verdict(tx, model, callback="feed")
        [delivery] = tx.outbox.claim(limit=1, lease=DAY)
        tx.outbox.delivered(delivery.id)
        tx.uploads.delete(make_event(kind=EventKind.DELETED))
        tx.dead_letters.bury_event(stage="event", reason="InvalidEvent", detail="", payload={})
        tx.dead_letters.drop(tx.dead_letters.waiting()[0].id, actor="ann")
        tx.audit("ann", "looked", f"verdict:{verdict}")
        hour = {"start": datetime(2026, 1, 1, tzinfo=UTC), "end": datetime(2026, 1, 1, 1, tzinfo=UTC)}
        tx.drift.save_snapshot(model_id=model.id, surface="", count=1, statistics={}, alerts=[], **hour)
    assert run() == {}
    expected = {
        "webhooks": {"outbox": 1},
        "deletions": {"deletions": 1},
        "dead_letters": {"dead_letters": 1},
        "drift_snapshots": {"drift_snapshots": 1},
        "audit_log": {"audit_log": 2},  # the letter's, too
        "exif": {"exif": 1},
        "embeddings": {"embeddings": 1},
    }
    for family, removed in expected.items():
        assert run(**{family: DAY * 3}) == {}, "too young"
        assert run(**{family: DAY}) == removed
    assert len(ids(database)) == 1


def test_small_batches_and_a_bounded_run(stores, database, model, run):
    with stores.transaction() as tx:
        for _ in range(7):
            add_verdict(tx, model)
    oldest = ids(database)
    assert run(uploads=DAY, batch_size=2, max_batches=2)["uploads"] == 4
    assert ids(database) == oldest[4:], "the oldest first"
    assert run(uploads=DAY, batch_size=2, max_batches=5)["uploads"] == 3


def test_what_somebody_holds_is_passed_over(fresh_dsn, in_two_days):
    settings = settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn)
    stores = Stores(settings.postgres)
    with stores.transaction() as tx:
        model = add_model(tx)
        for key in ("held.jpg", "free.jpg"):
            add_verdict(tx, model, key=key)
    with stores.transaction() as tx:
        held = tx.uploads.newest("uploads", "held.jpg")
        tx.uploads.requeue(held.id)  # its row is locked until the end of this transaction
        removed = remove_expired(
            RetentionDeps(stores.transaction, FakeObjectStore(), "models", RetentionSettings(uploads=DAY), in_two_days)
        )
        assert removed["uploads"] == 1
    with stores.transaction() as tx:
        with pytest.raises(NotFound):
            tx.uploads.newest("uploads", "free.jpg")
        assert tx.uploads.newest("uploads", "held.jpg").id == held.id
    stores.close()


AGES = {
    Family.UPLOADS: ("uploads", "received_at"),
    Family.EMBEDDINGS: ("embeddings", "created_at"),
    Family.EXIF: ("media", "created_at"),
    Family.WEBHOOKS: ("outbox", "created_at"),
    Family.DELETIONS: ("deletions", "received_at"),
    Family.DEAD_LETTERS: ("dead_letters", "resolved_at"),
    Family.DRIFT_SNAPSHOTS: ("drift_snapshots", "created_at"),
    Family.AUDIT_LOG: ("audit_log", "created_at"),
}
MANY = """
    CREATE TEMP TABLE many AS
        SELECT g AS n, encode(sha256(g::text::bytea), 'hex') AS sha256, now() - g * interval '1 minute' AS at
        FROM generate_series(1, 10000) g;
    INSERT INTO uploads (event_id, bucket, object_key, identity, surface, lane, uploaded_at, received_at, state, sha256)
        SELECT n, 'uploads', n, n, 'posts', 'live', at, at, 'done', sha256 FROM many;
    INSERT INTO announcements (upload_id, event_id) SELECT id, event_id FROM uploads;
    INSERT INTO media (sha256, byte_size, provenance, detail, created_at) SELECT sha256, 1, '[]', '', at FROM many;
    INSERT INTO exif (sha256, tags, reader, warnings) SELECT sha256, '{}', 'pillow', '{}' FROM many;
    INSERT INTO embeddings (sha256, encoder_version, embedding, created_at)
        SELECT sha256, 1, array_fill(0.5::real, ARRAY[528])::vector, at FROM many;
    INSERT INTO verdicts (upload_id, model_version_id, sha256, kind, reason, policy, timings)
        SELECT u.id, m.id, sha256, 'camera', '', '{}', '{}' FROM uploads u, model_versions m;
    INSERT INTO outbox (verdict_id, announcement_id, callback, payload, created_at, delivered_at)
        SELECT v.id, a.id, 'feed', '{}', received_at, now() FROM verdicts v JOIN announcements a USING (upload_id);
    INSERT INTO deletions (bucket, object_key, event_id, deleted_at, received_at)
        SELECT 'uploads', n, n, at, at FROM many;
    INSERT INTO dead_letters (stage, reason, detail, resolved_at, resolution)
        SELECT 'event', '', '', at, 'dropped' FROM many;
    INSERT INTO drift_snapshots
        (model_version_id, surface, period_start, period_end, count, statistics, alerts, created_at)
        SELECT m.id, 'posts', at, at, 1, '{}', '{}', at FROM many, model_versions m;
    INSERT INTO audit_log (actor, action, subject, detail, created_at) SELECT 'ann', 'looked', n, '{}', at FROM many;
    ANALYZE;
"""
"""Ten thousand of each, a minute apart."""


def test_expired_rows_are_found_by_their_age_and_not_by_reading_the_table(stores, database, model):
    for statement in MANY.split(";"):
        if statement.strip():
            database.exec_driver_sql(statement)
    oldest = database.scalar(text("SELECT now() - interval '9900 minutes'"))
    for family, (table, column) in AGES.items():
        compiled = expired(family, oldest, 50).compile(
            dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}
        )
        plan = database.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {compiled}").scalar()
        nodes = list(_nodes(plan[0]["Plan"]))
        assert any(f"{column} < " in node.get("Index Cond", "") for node in nodes), f"{family}: {plan}"
        assert table not in {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}, family


def _nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def test_never_is_an_age(monkeypatch):
    monkeypatch.setenv("LENSWATCH_RETENTION__UPLOADS", "never")
    monkeypatch.setenv("LENSWATCH_RETENTION__EXIF", "P90D")
    retention = Settings(_env_file=None).retention
    assert (retention.uploads, retention.exif) == (None, timedelta(days=90))
    assert set(RetentionSettings.model_fields) == {*Family, "batch_size", "max_batches"}
