"""Migrations on a real Postgres: up from nothing, down to nothing, and in agreement with the models."""

import itertools
import re

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from pipeline.errors import StoreUnavailable
from pipeline.settings import PostgresSettings, Settings
from pipeline.store import models_people, models_review  # noqa: F401  they fill the metadata
from pipeline.store.base import Base
from pipeline.store.migrate import SCRIPTS, differences, downgrade, upgrade

numbers = itertools.count()


@pytest.fixture
def empty(postgres_server) -> Settings:
    """A database that no migration has seen."""
    name = f"empty_{next(numbers)}"
    postgres_server.create_database(name)
    return settings_for(postgres_server.dsn(name))


@pytest.fixture
def engine(empty):
    engine = create_engine(empty.postgres.dsn.get_secret_value())
    yield engine
    engine.dispose()


def settings_for(dsn: str) -> Settings:
    return Settings(_env_file=None, postgres=PostgresSettings(dsn=SecretStr(dsn)))


def functions(engine) -> list[str]:
    """Our own functions; those of extensions belong to them."""
    query = """
        SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
        WHERE nspname = 'public' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = pg_proc.oid AND deptype = 'e')
    """
    with engine.connect() as connection:
        return list(connection.scalars(text(query)))


def test_up_down_and_up_again(empty, engine):
    upgrade(empty)
    assert set(inspect(engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    downgrade(empty, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    assert functions(engine) == []
    upgrade(empty)
    assert differences(empty) == ""


def test_each_migration_can_be_taken_back_alone(empty):
    upgrade(empty)
    for _ in SCRIPTS.glob("versions/*.py"):
        downgrade(empty, "-1")
    upgrade(empty)
    assert differences(empty) == ""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE uploads DROP COLUMN last_error", "last_error"),
        ("ALTER TABLE uploads ALTER COLUMN attempts TYPE bigint", "attempts"),
        ("ALTER TABLE outbox DROP CONSTRAINT uq_outbox_delivery_id", "delivery_id"),
        ("DROP INDEX uq_verdicts_current", "uq_verdicts_current"),
        ("CREATE TABLE forgotten (id int)", "forgotten"),
    ],
)
def test_a_database_that_differs_from_the_models_is_told(fresh_dsn, change, named):
    settings = settings_for(fresh_dsn)
    assert differences(settings) == ""
    engine = create_engine(fresh_dsn)
    with engine.begin() as connection:
        connection.execute(text(change))
    engine.dispose()
    assert named in differences(settings)


def constraints(connection) -> set[tuple[str, str]]:
    query = """
        SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
    """
    return {(table, definition) for table, definition in connection.execute(text(query))}


def test_every_constraint_of_the_models_was_migrated(database, engine):
    """Alembic does not compare CHECKs; a new reject reason without its migration would fail in production only."""
    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION vector"))
        Base.metadata.create_all(connection)
        assert constraints(database) == constraints(connection)


def test_a_migration_gives_up_a_lock_that_it_does_not_get(fresh_dsn):
    engine = create_engine(fresh_dsn)
    with engine.begin() as somebody:
        for table in ("decisions", "uploads"):  # one of each migration
            somebody.execute(text(f"LOCK TABLE {table}"))
        with pytest.raises(StoreUnavailable, match="LockNotAvailable"):
            downgrade(settings_for(fresh_dsn), "base")
    engine.dispose()


@pytest.mark.parametrize("table", models_review.APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET created_at = now()", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_history_cannot_be_changed(database, table, statement):
    with pytest.raises(IntegrityError, match=f"{table} is append-only"):
        database.execute(text(statement.format(table)))


def test_events_and_webhooks_of_an_older_ledger_become_announcements(empty, engine):
    upgrade(empty, "0003")
    older = """
        INSERT INTO model_versions (name, encoder_version, binary_version, artifact_prefix, card, created_by)
            VALUES ('m', 1, 1, 'm/', '{}', 'x');
        INSERT INTO uploads (event_id, bucket, object_key, identity, surface, lane, callback, uploaded_at)
            VALUES ('asks', 'b', 'k', 'i', 's', 'live', 'feed', now()),
                   ('silent', 'b', 'k', 'j', 's', 'live', NULL, now());
        INSERT INTO verdicts (upload_id, model_version_id, kind, reason, policy, timings)
            SELECT id, 1, 'camera', 'x', '{}', '{}' FROM uploads;
        INSERT INTO outbox (verdict_id, callback, payload) VALUES (1, 'feed', '{}');
    """
    with engine.begin() as connection:
        connection.execute(text(older))
    upgrade(empty)
    answered = """
        SELECT event_id, outbox.id FROM announcements LEFT JOIN outbox ON announcement_id = announcements.id ORDER BY 1
    """
    with engine.begin() as connection:
        assert connection.execute(text(answered)).all() == [("asks", 1), ("silent", None)]
        connection.execute(text("INSERT INTO announcements (upload_id, event_id, callback) VALUES (1, 'too', 'feed')"))
        connection.execute(
            text(
                "INSERT INTO outbox (verdict_id, announcement_id, callback, payload)"
                " SELECT 1, max(id), 'feed', '{}' FROM announcements"
            )
        )
    downgrade(empty, "0003")
    with engine.begin() as connection:
        assert connection.execute(text("SELECT id FROM outbox")).all() == [(1,)]


def test_without_the_desk_what_it_alone_knows_goes_and_what_was_taken_back_does_not_count_again(empty, engine):
    upgrade(empty, "0007")
    reviewed = """
        INSERT INTO model_versions (name, encoder_version, binary_version, artifact_prefix, card, created_by)
            VALUES ('m', 1, 1, 'm/', '{}', 'x');
        INSERT INTO uploads (event_id, bucket, object_key, identity, surface, lane, uploaded_at)
            VALUES ('e', 'b', 'k', 'i', 's', 'live', now());
        INSERT INTO announcements (upload_id, event_id, callback) VALUES (1, 'e', 'feed');
        INSERT INTO verdicts (upload_id, model_version_id, kind, reason, policy, timings)
            VALUES (1, 1, 'unsure', 'x', '{}', '{}');
        INSERT INTO outbox (verdict_id, announcement_id, callback, payload, about)
            VALUES (1, 1, 'feed', '{}', 'verdict'), (1, 1, 'feed', '{}', 'review');
        INSERT INTO review_items (verdict_id, upload_id, sha256, surface, model_version_id, purpose, state)
            VALUES (1, 1, 'ab', 's', 1, 'unsure', 'disputed'), (1, 1, 'ab', 's', 1, 'appeal', 'open');
        INSERT INTO appeals (review_item_id, upload_id, statement, submitted_by) VALUES (2, 1, 'mine', 'key');
        INSERT INTO review_skips (review_item_id, reviewer, reason) VALUES (1, 'joe', 'other');
        INSERT INTO decisions (review_item_id, sha256, reviewer, label, note)
            VALUES (1, 'ab', 'ann', 'not_camera', ''), (1, 'ab', 'ann', 'camera', ''),
                   (1, 'ab', 'bob', 'cant_tell', ''), (2, 'ab', 'eve', 'camera', '');
        INSERT INTO retractions (decision_id) VALUES (1);
        INSERT INTO surface_policies (surface, not_camera_fpr, unsure_fpr, actor, reason)
            VALUES ('s', .01, .05, 'l', '');
    """
    with engine.begin() as connection:
        connection.execute(text(reviewed))
    downgrade(empty, "0006")
    with engine.begin() as connection:
        assert connection.execute(text("SELECT reviewer, label FROM decisions")).all() == [("ann", "camera")]
        assert connection.execute(text("SELECT id, state FROM review_items")).all() == [(1, "decided")]
        assert connection.execute(text("SELECT id FROM outbox")).all() == [(1,)]
    upgrade(empty)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT outcome FROM review_items")) == "camera"


def test_files_sort_by_time_and_read_as_sentences():
    for path in SCRIPTS.glob("versions/*.py"):
        assert re.fullmatch(r"\d{4}-\d{2}-\d{2}-\d{4}_[a-z]+(_[a-z0-9]+)+\.py", path.name)
