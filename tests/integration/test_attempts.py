"""What the base task promises: attempts that survive, retries that wait in the ledger, dead letters. Real Postgres."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from pipeline.errors import DetectorUnavailable
from pipeline.records import UploadState, VerdictKind
from pipeline.settings import WorkerSettings
from pipeline.store import Stores
from tests.factories import add_model, add_upload, add_verdict
from tests.servers import settings_for
from workers.app import MODERATE, create_app
from workers.lanes import queue_name
from workers.stream import connect

WORKER = WorkerSettings(max_attempts=3, retry_delay=timedelta(seconds=40), stale_after=timedelta(minutes=5))


@pytest.fixture
def stores(fresh_dsn):
    stores = Stores(settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn).postgres)
    yield stores
    stores.close()


@pytest.fixture
def app(stores, fresh_dsn, redis_url):
    settings = settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn, LENSWATCH_REDIS__URL=redis_url)
    app = create_app(settings.model_copy(update={"worker": WORKER}))
    app.loader.import_default_modules()
    app.dependencies = SimpleNamespace(settings=app.settings, stores=stores, moderation=lambda transaction: transaction)
    yield app
    app.close()


@pytest.fixture
def task(app):
    return app.tasks[MODERATE]


@pytest.fixture
def upload(stores):
    with stores.transaction() as transaction:
        return add_upload(transaction)


def test_a_success_is_one_attempt_and_a_repeated_message_does_nothing(task, stores, upload):
    done = []

    def work(upload, transaction):
        done.append(upload)
        add_verdict(transaction, add_model(transaction), upload=upload)

    task.attempt(upload.id, work)
    task.attempt(upload.id, work)
    assert len(done) == 1
    assert done[0].attempts == 1
    assert row(stores, upload).state is UploadState.DONE


def test_a_server_that_is_away_postpones_longer_each_time_and_buries_in_the_end(task, stores, upload):
    delays = []
    for _ in range(WORKER.max_attempts):
        task.attempt(upload.id, fail(DetectorUnavailable("told to")))
        delays.append(waits_for(stores, upload))
    assert [round(delay.total_seconds(), -1) for delay in delays[:2]] == [40, 80]
    [letter] = letters(stores)
    assert (letter.upload_id, letter.reason, letter.attempts) == (upload.id, "DetectorUnavailable", 3)
    assert row(stores, upload).state is UploadState.DEAD
    task.attempt(upload.id, fail(AssertionError("a buried upload is not tried again")))
    assert len(letters(stores)) == 1


def test_a_bug_is_retried_and_named(task, stores, upload):
    for _ in range(WORKER.max_attempts):
        task.attempt(upload.id, fail(ZeroDivisionError("of ours")))
    assert [letter.reason for letter in letters(stores)] == ["ZeroDivisionError"]


def test_what_a_failed_attempt_wrote_is_gone(task, stores, upload):
    def half(upload, transaction):
        add_verdict(transaction, add_model(transaction), VerdictKind.UNSURE, upload=upload)
        raise DetectorUnavailable("after the verdict")

    task.attempt(upload.id, half)
    with stores.transaction() as transaction:
        assert transaction.verdicts.of_upload(upload.id) is None
        assert transaction.reviews.waiting() == []
    assert row(stores, upload).state is UploadState.QUEUED


def test_an_image_that_kills_its_workers_is_counted_and_buried(task, stores, upload):
    class Killed(BaseException):
        """Like SIGKILL, it leaves the attempt no chance to say anything."""

    for _ in range(WORKER.max_attempts):
        with pytest.raises(Killed):
            task.attempt(upload.id, fail(Killed()))
    assert row(stores, upload).attempts == WORKER.max_attempts
    task.attempt(upload.id, fail(AssertionError("not a fourth time")))
    assert [letter.reason for letter in letters(stores)] == ["WorkerLost"]


def test_a_slower_twin_that_fails_does_not_undo_the_verdict(task, stores, upload):
    def overtaken(upload, _transaction):
        with stores.transaction() as other:
            add_verdict(other, add_model(other), upload=upload)
        raise DetectorUnavailable("the twin was quicker")

    task.attempt(upload.id, overtaken)
    assert row(stores, upload).state is UploadState.DONE


def test_a_replayed_letter_gets_all_its_attempts_again(task, stores, upload):
    for _ in range(WORKER.max_attempts):
        task.attempt(upload.id, fail(DetectorUnavailable("told to")))
    [letter] = letters(stores)
    with stores.transaction() as transaction:
        assert transaction.dead_letters.replay(letter.id, actor="me").id == upload.id
    task.attempt(upload.id, fail(DetectorUnavailable("told to")))
    assert letters(stores) == []
    assert row(stores, upload).state is UploadState.QUEUED


def test_forgotten_and_postponed_uploads_are_sent_again(app, stores, upload):
    with stores.transaction() as transaction:
        waits_long = add_upload(transaction, key="later.jpg")
        transaction.uploads.postpone(upload.id, not_before=datetime.now(UTC) - timedelta(seconds=1), error="x")
        transaction.uploads.postpone(waits_long.id, not_before=datetime.now(UTC) + timedelta(hours=1), error="x")
    for _ in range(2):  # the second time, nothing is due any more
        app.tasks["resend_stale"]()
    with connect(app.settings.redis) as client:
        [message] = client.lrange(queue_name("live"), 0, -1)
    assert json.loads(message)["headers"]["argsrepr"] == f"[{upload.id}]"


def fail(error):
    def work(_upload, _transaction):
        raise error

    return work


def row(stores, upload):
    with stores.transaction() as transaction:
        return transaction.uploads.get(upload.id)


def letters(stores):
    with stores.transaction() as transaction:
        return transaction.dead_letters.waiting()


def waits_for(stores, upload):
    """How long the row is postponed; an empty stretch where it is not."""
    from pipeline.store.models import UploadRow

    with stores.transaction() as transaction:
        not_before = transaction.uploads._session.get(UploadRow, upload.id).not_before
    return not_before - datetime.now(UTC) if not_before else timedelta()
