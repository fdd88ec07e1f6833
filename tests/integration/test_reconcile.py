"""A real bucket against a real ledger: what is found, and that repairing it leaves nothing to find."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs
from typer.testing import CliRunner

from pipeline.records import Lane, UploadState
from tests.factories import add_model, add_verdict, make_event
from tests.integration.test_consumer import drain
from tests.servers import settings_for
from workers.app import create_app
from workers.bootstrap import Dependencies
from workers.cli import app as cli
from workers.consumer import Consumer
from workers.reconcile import ledger, reconcile_bucket

BUCKET = "reconciled"
KEYS = ["B.jpg", "a b+c.jpg", "a/ä.jpg", "a0.jpg", "z/名前.jpg", "é.jpg", "🐱.jpg"]
"""In an order that is neither a language's nor a file system's: that of UTF-8 bytes."""


@pytest.fixture
def environment(fresh_dsn, redis_url, s3_server):
    return {
        **s3_server.environment(),
        "LENSWATCH_POSTGRES__DSN": fresh_dsn,
        "LENSWATCH_REDIS__URL": redis_url,
        "LENSWATCH_S3__BUCKETS": json.dumps([BUCKET]),
        "LENSWATCH_WORKER__CONSUMER_BLOCK": "0.05",
    }


@pytest.fixture
def deps(environment):
    with Dependencies(settings_for(**environment)) as deps:
        deps.objects.ensure_bucket(BUCKET)
        for found in list(deps.objects.list_objects(BUCKET)):  # of the test before
            deps.objects._client.delete_object(Bucket=BUCKET, Key=found.key)
        # The objects are as young as the test: an hour later, they are not.
        deps.clock = SimpleNamespace(now=lambda: datetime.now(UTC) + timedelta(hours=1))
        yield deps


@pytest.fixture
def command(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LENSWATCH_WORKER__RECONCILE_GRACE", "PT0S")
    return lambda *arguments: CliRunner().invoke(cli, ["reconcile", *arguments])


def put(deps, key, content=b"x"):
    return deps.objects.put(BUCKET, key, content)


def record(deps, key, etag, **fields):
    """An upload that came an hour before the comparison, and is done."""
    with deps.stores.transaction() as tx:
        upload, _ = tx.uploads.record(make_event(bucket=BUCKET, key=key, etag=etag, **fields))
        tx.uploads.finish(upload.id, UploadState.DONE)
    return upload


def compared(deps, **options):
    seen = []
    counts = reconcile_bucket(deps, BUCKET, repair=False, on_key=seen.append, **options)
    return dict(counts), [(one.finding.value, one.key) for one in seen if one]


def consume(deps):
    sent = []
    consumer = Consumer(deps.redis, deps.stores, sent.append, deps.settings)
    consumer.create_groups()
    drain(consumer)
    return sent


def test_a_bucket_that_agrees(deps):
    for key in KEYS:
        record(deps, key, put(deps, key))
    assert compared(deps) == ({"agree": len(KEYS), "missing": 0, "vanished": 0}, [])


def test_both_sides_are_listed_alike_page_by_page(deps, monkeypatch):
    monkeypatch.setattr("workers.reconcile.PAGE", 2)
    for key in KEYS:
        record(deps, key, put(deps, key))
    listed = [found.key for found in deps.objects.list_objects(BUCKET)]
    assert listed == [entry.key for entry in ledger(deps, BUCKET)] == sorted(KEYS, key=str.encode)


def test_what_is_found_is_repaired_and_then_agrees(deps):
    record(deps, KEYS[0], put(deps, KEYS[0]))
    put(deps, KEYS[1])  # never announced
    put(deps, KEYS[2], b"new")
    record(deps, KEYS[2], "0" * 32)  # overwritten, and never announced again
    gone = record(deps, KEYS[3], "1" * 32, sequencer="0A")
    back = record(deps, KEYS[4], put(deps, KEYS[4]), sequencer="01")
    with deps.stores.transaction() as tx:  # deleted, and restored without a notification
        tx.uploads.delete(make_event(bucket=BUCKET, key=KEYS[4], kind="deleted", sequencer="02"))
    counts, found = compared(deps)
    assert counts == {"agree": 1, "missing": 3, "vanished": 1}
    assert found == [("missing", KEYS[1]), ("missing", KEYS[2]), ("vanished", KEYS[3]), ("missing", KEYS[4])]
    reconcile_bucket(deps, BUCKET, repair=True, lane=Lane.RESCORE, surface="posts")
    sent = consume(deps)
    assert sorted(upload.event.key for upload in sent) == sorted([KEYS[1], KEYS[2], KEYS[4]])
    assert {(upload.event.lane, upload.event.surface) for upload in sent if upload.id > back.id} == {
        ("rescore", "posts")
    }
    with deps.stores.transaction() as tx:
        assert tx.uploads.get(gone.id).deleted_at is not None
        assert tx.uploads.get(back.id).deleted_at is None
    assert compared(deps)[0] == {"agree": 4, "missing": 0, "vanished": 0}
    reconcile_bucket(deps, BUCKET, repair=True)
    assert consume(deps) == []


def test_what_is_young_is_left_alone(deps):
    put(deps, KEYS[0])
    record(deps, KEYS[1], "0" * 32)
    deps.clock = SimpleNamespace(now=lambda: datetime.now(UTC) + timedelta(minutes=14))
    assert compared(deps) == ({"agree": 2, "missing": 0, "vanished": 0}, [])


def test_the_newest_upload_of_a_key_counts(deps):
    """Put as A, overwritten by B, put as A again, of which nobody told: the ledger says B."""
    etag = put(deps, KEYS[0])
    record(deps, KEYS[0], etag, sequencer="01")
    record(deps, KEYS[0], "0" * 32, sequencer="02")
    assert compared(deps)[1] == [("missing", KEYS[0])]
    reconcile_bucket(deps, BUCKET, repair=True)
    consume(deps)
    assert compared(deps)[1] == []


def test_in_a_terminal(command, deps):
    put(deps, KEYS[0])
    gone = record(deps, KEYS[1], "0" * 32)
    with deps.stores._engine.begin() as connection:
        connection.execute(text("UPDATE uploads SET received_at = received_at - interval '1 hour'"))
    wait_a_second_of_s3()
    reported = command("--json")
    assert reported.exit_code == 1
    *lines, counts = [json.loads(line) for line in reported.stdout.splitlines()]
    assert [(line["finding"], line["key"]) for line in lines] == [("missing", KEYS[0]), ("vanished", gone.event.key)]
    assert counts == {"bucket": BUCKET, "repaired": False, "agree": 0, "missing": 1, "vanished": 1}
    repaired = command("--repair", "--bucket", BUCKET)
    assert repaired.exit_code == 0, repaired.output
    assert f"missing  s3://{BUCKET}/{KEYS[0]}" in repaired.stdout
    assert [upload.event.lane for upload in consume(deps)] == [Lane.BACKFILL]
    assert command().exit_code == 0


@pytest.mark.parametrize("repair", [False, True])
def test_every_night_it_is_reported_and_repaired_only_if_settings_say_so(deps, repair):
    put(deps, KEYS[0])
    settings = deps.settings.model_copy(
        update={"worker": deps.settings.worker.model_copy(update={"reconcile_repair": repair})}
    )
    app = create_app(settings)
    app.loader.import_default_modules()
    deps.settings = settings
    app.dependencies = deps
    with capture_logs() as lines:
        app.tasks["reconcile"]()
        app.tasks["reconcile"]()  # once a night
    [report] = [line for line in lines if line["event"] == "bucket_reconciled"]
    assert (report["bucket"], report["missing"]) == (BUCKET, 1)
    assert len(consume(deps)) == repair
    app.close()


def test_the_ledger_knows_deleted_uploads_no_more(deps):
    with deps.stores.transaction() as tx:
        add_verdict(tx, add_model(tx), bucket=BUCKET, key=KEYS[0])
        tx.uploads.delete(make_event(bucket=BUCKET, key=KEYS[0], kind="deleted"))
    assert list(ledger(deps, BUCKET)) == []


def wait_a_second_of_s3():
    """`LastModified` is cut to seconds by some servers, and rounded up by none."""
    from time import sleep

    sleep(1.1)
