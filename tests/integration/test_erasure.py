"""Erasure on real servers: everything of one uploader is planted everywhere, erased, and searched for."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint, create_engine, false, text
from sqlalchemy import delete as real_delete
from sqlalchemy.exc import IntegrityError

from pipeline.derived_files import derived_prefix
from pipeline.erase import (
    BATCH,
    DERIVED_FILES,
    WAITING_EVENTS,
    ErasureDeps,
    Subject,
    SubjectKind,
    erase,
    survey,
)
from pipeline.mention import Terms
from pipeline.records import EventKind, UploadEvent, VerdictKind
from pipeline.review.decisions import undo
from pipeline.review.items import SkipReason
from pipeline.review.queue import skip, take
from pipeline.settings import Settings
from pipeline.store import erasure as erasure_store
from pipeline.store import models_review, removal
from pipeline.store.base import Base
from tests.factories import add_model, add_upload, add_verdict, make_event, make_examination
from tests.reviewing import SETTINGS, say, waiting
from tests.servers import settings_for
from tests.unit.test_mention import CASES
from workers.bootstrap import Dependencies
from workers.stream import EVENT_FIELD, GROUP, stream_name, submit

ERIN = Subject(SubjectKind.UPLOADER, "erin-7")
KEY = "erins photo.jpg"

NAMES_NOBODY = {
    "model_versions": "releases",
    "model_aliases": "releases",
    "model_alias_history": "releases",
    "drift_snapshots": "sums over a surface's hour",
    "job_runs": "our own jobs",
    "erasures": "what an erasure leaves on purpose; test_the_record_says_nothing_of_whom",
    "alembic_version": "the schema's",
    "accounts": "who works at the desk",
    "sessions": "their browsers",
    "surface_policies": "what leads set",
    "score_counts": "sums over a surface's hour",
    "review_skips": "reviewers, and reasons from a list",
    "retractions": "numbers alone",
}
"""Tables with text in which an uploader, an object or bytes have no place."""

CASCADED = {"announcements", "exif", "scores", "embeddings", "training_members"}
"""Tables whose rows Postgres itself deletes with the row that they hang on."""


@dataclass
class World:
    deps: Dependencies
    engine: object
    model: str
    shared: str
    """SHA-256 of bytes that both erin and otto uploaded."""
    own: str
    """SHA-256 of erin's reviewed photograph."""

    @property
    def erasure(self) -> ErasureDeps:
        return self.deps.erasure

    def scalar(self, statement: str, **values):
        with self.engine.connect() as connection:
            return connection.scalar(text(statement), values)

    def hits(self, *names: str, hashes: tuple[str, ...] = ()) -> dict[str, int]:
        with self.deps.stores.transaction() as tx:
            return tx.erasure.search(Terms(names=frozenset(names), hashes=frozenset(hashes)))


@pytest.fixture
def settings(fresh_dsn, redis_url, s3_server) -> Settings:
    return settings_for(s3_server, LENSWATCH_POSTGRES__DSN=fresh_dsn, LENSWATCH_REDIS__URL=redis_url)


@pytest.fixture
def world(settings, fresh_dsn):
    engine = create_engine(fresh_dsn)
    with Dependencies(settings) as deps:
        deps.objects.ensure_bucket(settings.s3.model_bucket)
        model, shared, own = plant(deps)
        yield World(deps, engine, model, shared, own)
    engine.dispose()


def plant(deps: Dependencies) -> tuple[str, str, str]:
    """Erin and otto in every table, in the streams and in the bucket."""
    both, own = make_examination(), make_examination()
    with deps.stores.transaction() as tx:
        model = add_model(tx)
        tx.versions.point("champion", model.id, actor="tests", reason="first")
        for who, examination in (("erin-7", own), ("otto", make_examination())):
            reviewed(tx, model, who, examination)
            add_verdict(tx, model, examination=both, uploader_id=who, key=f"{who} shared.jpg")
            queued = add_upload(tx, uploader_id=who, key=f"{who} waits.jpg", event_id=f"{who}:waits")
            dead = add_upload(tx, uploader_id=who, key=f"{who} dead.jpg", event_id=f"{who}:dead")
            tx.results.bury(dead.id, stage="moderate", reason="StoreUnavailable", detail=f"of {who}")
            tx.audit("ann", "upload.looked_at", f"upload:{queued.id}")  # by its subject only
            tx.audit("ann", "letter.answered", "letter:1", to=who)  # by its detail only
            broken = {"fields": {"event": json.dumps({"uploader_id": who, "colour": 1})}}
            tx.dead_letters.bury_event(stage="event", reason="InvalidEvent", detail="", payload=broken)
            tx.uploads.delete(
                make_event(kind=EventKind.DELETED, key=f"{who} dead.jpg", event_id=f"{who}:deletes", uploader_id=None)
            )
            deps.objects.put(
                deps.settings.s3.model_bucket, derived_prefix(examination.sha256) + "thumb.jpg", b"a thumbnail"
            )
        tx.training.record_members(model.id, {own.sha256: "fit", both.sha256: "calibration"})
    announce(deps)
    return model.name, both.sha256, own.sha256


def reviewed(tx, model, who, examination) -> None:
    key = KEY if who == "erin-7" else f"{who} photo.jpg"
    event = {"key": key, "etag": f"etag of {who}", "event_id": f"{who}:photo", "callback": "feed"}
    add_verdict(tx, model, VerdictKind.UNSURE, examination=examination, uploader_id=who, **event)
    [item] = waiting(tx)
    say(tx, item.id, note=f"{who} sent the raw file")
    appealed(tx, item.upload_id, who)


def appealed(tx, upload_id, who) -> None:
    """Skipped by one reviewer, decided by another one who took it back."""
    appeal = {"statement": f"{who} was there", "appellant": who, "submitted_by": "platform"}
    item_id = tx.appeals.open(upload_id, decisions_needed=1, **appeal).item_id
    take(tx, item_id, "eve", SETTINGS.review)
    skip(tx, item_id, "eve", SkipReason.KNOWS_UPLOADER)
    say(tx, item_id, "bob", note=f"{who} again")
    undo(tx, "bob", SETTINGS)


def announce(deps: Dependencies) -> None:
    """What the ledger has not taken over: two of erin's, one broken entry that names her, and three that stay."""
    again = {"key": KEY, "etag": "etag of erin-7", "uploader_id": None}  # as an S3 notification says it
    for event in (
        make_event(uploader_id="erin-7"),
        make_event(**again),
        make_event(**again | {"etag": "of other bytes"}),
        make_event(uploader_id="otto"),
    ):
        submit(deps.redis, deps.settings, event, door="tests")
    for who in ("erin-7", "otto"):
        deps.redis.xadd(stream_name(deps.settings.redis, event.lane), {"wrong": json.dumps({"by": who})})


def test_everything_is_planted(world):
    """Or else the search below would prove nothing."""
    with world.deps.stores.transaction() as tx:
        searched = set(tx.erasure._text_columns())
        terms = tx.erasure.terms(ERIN, tx.erasure.survey(ERIN, after=0, limit=BATCH))
        hits = tx.erasure.search(terms)
    assert set(Base.metadata.tables) <= searched | NAMES_NOBODY.keys()
    assert hits.keys() == searched - NAMES_NOBODY.keys()


def test_nothing_of_the_uploader_is_left_and_everything_of_others(world):
    before = world.hits("otto")
    report = erase(world.erasure, ERIN, actor="ann")
    assert (report.remaining, report.complete) == ({}, True)
    assert world.hits("erin-7", KEY, hashes=(world.own,)) == {}
    assert world.hits("otto") == before
    assert world.scalar("SELECT count(*) FROM audit_log WHERE subject ~ '^(upload|review_item):'") == 5, "otto's"
    assert report.counts == {
        "announcements": 4,
        "appeals": 1,
        "audit_log": 3,  # the decision's and the other subject's go with their rows, and are not counted
        "dead_letters": 2,
        "decisions": 2,
        "deletions": 1,
        DERIVED_FILES: 1,
        "embeddings": 1,
        "exif": 1,
        "media": 1,
        "outbox": 2,
        "retractions": 1,
        "review_items": 2,
        "review_skips": 1,
        "scores": 1,
        "training_members": 1,
        "uploads": 4,
        "verdicts": 2,
        WAITING_EVENTS: 3,
    }


def test_bytes_that_somebody_else_uploaded_stay_and_the_report_says_so(world):
    report = erase(world.erasure, ERIN, actor="ann")
    assert report.shared == [world.shared]
    assert {"media", "exif", "scores", "embeddings", "training_members"} <= world.hits(hashes=(world.shared,)).keys()
    again = erase(world.erasure, Subject(SubjectKind.UPLOADER, "otto"), actor="ann")
    assert again.shared == []
    assert world.hits(hashes=(world.shared,)) == {}


def test_models_that_had_used_it_are_listed(world):
    expected = [{"model": world.model, "alias": "champion", "side": "fit", "images": 1}]
    assert survey(world.erasure, ERIN).models == expected
    report = erase(world.erasure, ERIN, actor="ann")
    assert report.models == expected
    stored = world.scalar("SELECT models FROM erasures WHERE id = :id", id=report.erasure_id)
    assert stored == [{"model": world.model, "side": "fit", "images": 1}]


def test_a_dry_run_counts_the_same_and_changes_nothing(world):
    before = world.hits("erin-7")
    counted = survey(world.erasure, ERIN)
    assert world.hits("erin-7") == before
    assert world.scalar("SELECT count(*) FROM erasures") == 0
    assert counted.counts == erase(world.erasure, ERIN, actor="ann").counts


def test_an_object_goes_with_all_its_versions(world):
    with world.deps.stores.transaction() as tx:
        model = tx.versions.get(world.model)
        for version in ("v1", "v2"):
            add_verdict(tx, model, key="many.jpg", version_id=version, uploader_id="otto")
        elsewhere = add_upload(tx, bucket="archive", key="many.jpg")
    report = erase(world.erasure, Subject(SubjectKind.OBJECT, "many.jpg", "uploads"), actor="ann")
    assert (report.counts["uploads"], report.counts["media"], report.complete) == (2, 2, True)
    with world.deps.stores.transaction() as tx:
        assert tx.uploads.get(elsewhere.id).event.key == "many.jpg", "another bucket's object is another object"


def test_content_goes_whoever_uploaded_it(world):
    report = erase(world.erasure, Subject(SubjectKind.CONTENT, world.shared), actor="ann")
    assert (report.counts["uploads"], report.shared, report.complete) == (2, [], True)
    assert world.hits(hashes=(world.shared,)) == {}
    assert world.hits("erin-7")["uploads"] == 3


def test_more_uploads_than_a_batch(world, monkeypatch):
    monkeypatch.setattr("pipeline.erase.BATCH", 2)
    counted = survey(world.erasure, ERIN)
    report = erase(world.erasure, ERIN, actor="ann")
    assert (report.counts, report.complete) == (counted.counts, True)
    assert report.counts["uploads"] == 4


def test_an_erasure_that_broke_off_is_run_again(world, monkeypatch):
    """The object store goes away in the middle: what is committed is written down, the rest is for the next run."""
    monkeypatch.setattr("pipeline.erase.BATCH", 2)
    whole, calls = erasure_store.Erasure.remove, []

    def remove(self, subject, **page):
        calls.append(page)
        if len(calls) == 2:
            raise ConnectionError("away")
        return whole(self, subject, **page)

    monkeypatch.setattr(erasure_store.Erasure, "remove", remove)
    with pytest.raises(ConnectionError):
        erase(world.erasure, ERIN, actor="ann")
    counts, finished_at = world.scalar("SELECT counts FROM erasures"), world.scalar("SELECT finished_at FROM erasures")
    assert (counts["uploads"], finished_at) == (2, None)
    report = erase(world.erasure, ERIN, actor="ann")
    assert (report.counts["uploads"], report.complete) == (2, True)


def test_the_record_says_nothing_of_whom(world):
    report = erase(world.erasure, ERIN, actor="ann")
    row = world.scalar("SELECT to_jsonb(e) FROM erasures e WHERE id = :id", id=report.erasure_id)
    assert (row["kind"], row["actor"], row["remaining"]) == ("uploader", "ann", {})
    assert row["counts"] == report.counts
    assert not Terms(frozenset({"erin-7", KEY}), hashes=frozenset({world.own})).found_in(json.dumps(row))


def test_what_waits_for_the_ledger_stays_acknowledged_if_it_is_somebody_elses(world):
    stream = stream_name(world.deps.settings.redis, UploadEvent.model_fields["lane"].default)
    world.deps.redis.xgroup_create(stream, GROUP, id="0")
    world.deps.redis.xreadgroup(GROUP, "a consumer that died", {stream: ">"})
    erase(world.erasure, ERIN, actor="ann")
    left = [fields for _, fields in world.deps.redis.xrange(stream)]
    events = [UploadEvent.model_validate_json(fields[EVENT_FIELD]) for fields in left if EVENT_FIELD in fields]
    assert [event.uploader_id for event in events] == [None, "otto"]
    assert events[0].etag == "of other bytes"
    assert left[2] == {"wrong": '{"by": "otto"}'}
    assert world.deps.redis.xpending(stream, GROUP)["pending"] == len(left) == 3, "no pending entry without a body"


UPLOAD_TREE = ("uploads", "announcements", "verdicts", "review_items", "decisions", "outbox", "dead_letters")
REVIEW_TREE = ("appeals", "retractions", "review_skips")
MEDIA_TREE = ("media", "exif", "scores", "embeddings", "training_members")


@pytest.mark.parametrize("forgotten", [*UPLOAD_TREE, *REVIEW_TREE, *MEDIA_TREE, "audit_log", "deletions"])
def test_a_table_that_is_forgotten_is_found(world, monkeypatch, forgotten):
    """Each delete is taken out in turn: Postgres refuses, or the search finds what stayed."""

    def delete(table):
        statement = real_delete(table)
        name = getattr(table, "name", None) or table.__tablename__
        return statement.where(false()) if name == forgotten else statement

    for module in (removal, erasure_store):
        monkeypatch.setattr(module, "delete", delete)
    if forgotten in CASCADED:
        assert erase(world.erasure, ERIN, actor="ann").complete
        return
    try:
        report = erase(world.erasure, ERIN, actor="ann")
    except IntegrityError:
        return
    assert forgotten in report.remaining
    assert not report.complete


def test_places_beside_postgres_that_are_forgotten_are_found(world, monkeypatch):
    monkeypatch.setattr("pipeline.erase.delete_derived", lambda *_: 0)
    events = world.erasure.events
    monkeypatch.setattr(events, "remove", lambda _: 0)
    assert erase(world.erasure, ERIN, actor="ann").remaining == {DERIVED_FILES: 1, WAITING_EVENTS: 3}


def test_a_table_that_no_model_describes_is_searched_too(world):
    with world.engine.begin() as connection:
        connection.execute(text("CREATE TABLE notes (body text, tags text[])"))
        connection.execute(text("INSERT INTO notes VALUES ('', ARRAY['x', 'erin-7'])"))
    assert erase(world.erasure, ERIN, actor="ann").remaining == {"notes": 1}


@pytest.mark.parametrize(("terms", "content", "named"), CASES)
def test_postgres_and_python_agree_on_what_names_it(stores, database, terms, content, named):
    with stores.transaction() as tx:
        database.execute(
            text("INSERT INTO audit_log (actor, action, subject, detail) VALUES ('ann', 'test', 'test', :detail)"),
            {"detail": json.dumps(_json_or_text(content))},
        )
        assert ("audit_log" in tx.erasure.search(terms)) is named


def _json_or_text(content: str):
    try:
        return json.loads(content)
    except ValueError:
        return {"text": content}


@pytest.mark.parametrize("table", models_review.APPEND_ONLY)
def test_only_an_erasure_deletes_history_and_nothing_changes_it(database, table):
    def run(statement):
        savepoint = database.begin_nested()
        try:
            database.execute(text(statement))
        finally:
            savepoint.rollback()

    def let_through(value):
        database.execute(text("SELECT set_config('lenswatch.erasure', :value, true)"), {"value": value})

    let_through("on")
    run(f"DELETE FROM {table}")  # noqa: S608
    for statement in ("UPDATE {} SET created_at = created_at", "TRUNCATE {} CASCADE"):
        with pytest.raises(IntegrityError, match="append-only"):
            run(statement.format(table))
    for value in ("off", "", "yes"):
        let_through(value)
        with pytest.raises(IntegrityError, match="append-only"):
            run(f"DELETE FROM {table}")  # noqa: S608


def test_the_exception_ends_with_its_transaction(world):
    erase(world.erasure, ERIN, actor="ann")
    with pytest.raises(IntegrityError, match="append-only"), world.deps.stores.transaction() as tx:
        tx.erasure._session.execute(text("DELETE FROM audit_log"))


def test_the_exception_ends_with_its_use(stores, database):
    with stores.transaction() as tx:
        with removal.append_only_lifted(tx.erasure._session):
            pass
        with pytest.raises(IntegrityError, match="append-only"), tx.erasure._session.begin_nested():
            tx.erasure._session.execute(text("DELETE FROM audit_log"))


def test_every_foreign_key_that_a_deletion_follows_has_an_index():
    """Or else each deleted row reads the whole table that hangs on it."""
    followed = {"uploads", "media", *UPLOAD_TREE}
    for table in Base.metadata.sorted_tables:
        keys = [found for found in table.constraints if isinstance(found, PrimaryKeyConstraint | UniqueConstraint)]
        whole = [index for index in table.indexes if index.dialect_options["postgresql"]["where"] is None]
        leading = {next(iter(found.columns)) for found in (*keys, *whole)}
        for link in table.foreign_keys:
            if link.column.table.name in followed:
                assert link.parent in leading, f"{table.name}.{link.parent.name}"
