"""What the base task promises: attempts that survive, retries that wait in the ledger, dead letters. Real Postgres."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from pipeline.errors import DetectorConfused, DetectorUnavailable, ObjectStoreUnavailable, StoreUnavailable
from pipeline.records import Lane, UploadState, VerdictKind
from pipeline.settings import WorkerSettings
from pipeline.store import Stores
from tests.factories import add_model, add_upload, add_verdict
from tests.reviewing import waiting
from tests.servers import settings_for
from workers.app import MODERATE, create_app, send_moderation
from workers.lanes import queue_name
from workers.stream import connect

WORKER = WorkerSettings(
    max_attempts=3,
    retry_delay=timedelta(seconds=40),
    longest_retry_delay=timedelta(seconds=100),
    give_up_after=timedelta(hours=24),
    stale_after=timedelta(minutes=5),
)
JITTER = 0.25


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
    with connect(app.settings.redis) as client:
        app.dependencies = SimpleNamespace(
            settings=app.settings, stores=stores, redis=client, moderation=lambda transaction: transaction
        )
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


@pytest.mark.parametrize("error", [DetectorUnavailable("full"), ObjectStoreUnavailable("AccessDenied")])
def test_an_outage_counts_no_attempt_and_waits_longer_each_time(task, stores, upload, error):
    delays = []
    for _ in range(12):  # four times as often as an image's own fault may befall it
        task.attempt(upload.id, fail(error))
        delays.append(waits_for(stores, upload).total_seconds())
    for delay, doubled in zip(delays, [40, 80, *[100] * 10], strict=True):
        assert doubled * (1 - JITTER) - 5 < delay <= doubled * (1 + JITTER)
    assert len(set(delays)) == len(delays)  # spread: what failed together does not come back together
    waiting = row(stores, upload)
    assert (waiting.state, waiting.attempts, waiting.postponements) == (UploadState.QUEUED, 0, 12)
    assert letters(stores) == []


def test_an_outage_of_postgres_itself_gives_the_attempt_back_once_it_is_over(app, task, stores, upload, monkeypatch):
    pauses = []
    monkeypatch.setattr("workers.app.sleep", pauses.append)

    def away(_upload, _transaction):
        app.dependencies.stores = AwayUntil(stores, lambda: len(pauses) == 3)
        raise StoreUnavailable("the connection was closed")

    task.attempt(upload.id, away)
    assert pauses == [0.5, 1.0, 2.0]
    waiting = row(stores, upload)
    assert (waiting.state, waiting.attempts, waiting.postponements) == (UploadState.QUEUED, 0, 1)


class AwayUntil:
    """Stores that refuse every transaction until something is so."""

    def __init__(self, stores, is_back):
        self._stores, self._is_back = stores, is_back

    def transaction(self):
        if not self._is_back():
            raise StoreUnavailable("told to")
        return self._stores.transaction()


def test_an_outage_that_does_not_end_is_a_dead_letter_after_a_day(task, stores, upload):
    age(stores, upload, timedelta(hours=23))
    task.attempt(upload.id, fail(ObjectStoreUnavailable("AccessDenied")))
    assert letters(stores) == []
    age(stores, upload, timedelta(hours=2))
    task.attempt(upload.id, fail(ObjectStoreUnavailable("AccessDenied")))
    [letter] = letters(stores)
    assert (letter.upload_id, letter.reason, letter.detail) == (upload.id, "ObjectStoreUnavailable", "AccessDenied")
    assert row(stores, upload).state is UploadState.DEAD
    task.attempt(upload.id, fail(AssertionError("a buried upload is not tried again")))
    assert len(letters(stores)) == 1


def test_outages_in_between_give_an_image_no_more_attempts_of_its_own(task, stores, upload):
    for error in (ZeroDivisionError("1"), DetectorUnavailable("full"), ZeroDivisionError("2"), ZeroDivisionError("3")):
        assert letters(stores) == []
        task.attempt(upload.id, fail(error))
    [letter] = letters(stores)
    assert (letter.detail, letter.attempts) == ("3", 3)


@pytest.mark.parametrize("error", [ZeroDivisionError("of ours"), DetectorConfused("not finite")])
def test_what_may_be_the_images_fault_gets_few_attempts(task, stores, upload, error):
    delays = []
    for _ in range(WORKER.max_attempts):
        task.attempt(upload.id, fail(error))
        delays.append(waits_for(stores, upload).total_seconds())
    assert [40 * 0.7 < delays[0] <= 40 * 1.25, 80 * 0.7 < delays[1] <= 80 * 1.25] == [True, True]
    assert [(letter.reason, letter.attempts) for letter in letters(stores)] == [(type(error).__name__, 3)]


def test_what_a_failed_attempt_wrote_is_gone(task, stores, upload):
    def half(upload, transaction):
        add_verdict(transaction, add_model(transaction), VerdictKind.UNSURE, upload=upload)
        raise DetectorUnavailable("after the verdict")

    task.attempt(upload.id, half)
    with stores.transaction() as transaction:
        assert transaction.verdicts.of_upload(upload.id) is None
        assert waiting(transaction) == []
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
        task.attempt(upload.id, fail(ZeroDivisionError("told to")))
    [letter] = letters(stores)
    with stores.transaction() as transaction:
        assert transaction.dead_letters.replay(letter.id, actor="me").id == upload.id
    task.attempt(upload.id, fail(ZeroDivisionError("told to")))
    assert letters(stores) == []
    assert row(stores, upload).state is UploadState.QUEUED


def test_postponed_and_abandoned_uploads_are_sent_again(app, stores, upload):
    with stores.transaction() as transaction:
        waits_long, abandoned = add_upload(transaction), add_upload(transaction)
        transaction.uploads.postpone(upload.id, not_before=datetime.now(UTC) - timedelta(seconds=1), error="x")
        transaction.uploads.postpone(waits_long.id, not_before=datetime.now(UTC) + timedelta(hours=1), error="x")
        transaction.uploads.begin_attempt(abandoned.id)  # and then its worker was killed, its message with it
    age(stores, abandoned, timedelta(minutes=6))
    for _ in range(2):  # the second time, nothing is due any more
        app.tasks["resend_stale"]()
    assert sorted(queued(app)) == [upload.id, abandoned.id]


def test_a_long_backlog_is_not_sent_again(app, stores):
    """Ten minutes behind, and every upload has its message."""
    with stores.transaction() as transaction:
        uploads = [add_upload(transaction) for _ in range(20)]
    for upload in uploads:
        send_moderation(app, upload)
        age(stores, upload, timedelta(minutes=10))
    for _ in range(3):
        app.tasks["resend_stale"]()
    assert len(queued(app)) == 20


def test_a_redis_that_forgot_everything_gets_every_message_again_at_once(app, stores, monkeypatch):
    monkeypatch.setattr("workers.tasks.monitoring.RESEND_BATCH", 7)
    with stores.transaction() as transaction:
        uploads = [add_upload(transaction) for _ in range(20)]
        fresh = add_upload(transaction)
        other = add_upload(transaction, lane=Lane.BACKFILL)
    for upload in (*uploads, other):
        age(stores, upload, timedelta(minutes=6))
    for _ in range(2):
        app.tasks["resend_stale"]()
    assert sorted(queued(app)) == [upload.id for upload in uploads]
    assert queued(app, Lane.BACKFILL) == [other.id]
    age(stores, fresh, timedelta(minutes=6))
    app.tasks["resend_stale"]()
    assert sorted(queued(app)) == [upload.id for upload in (*uploads, fresh)]


def test_lost_messages_among_others_are_made_up_for_until_every_upload_is_done(app, task, stores):
    """Which messages were lost nobody knows; what is sent too often finds its upload done."""
    with stores.transaction() as transaction:
        uploads = [add_upload(transaction) for _ in range(12)]
    for upload in uploads:
        age(stores, upload, timedelta(minutes=6))
        if upload.id % 3:
            send_moderation(app, upload)
    done = []
    for _ in range(12):
        app.tasks["resend_stale"]()
        sent = queued(app)
        assert len(sent) <= len(uploads) - len(done)
        app.dependencies.redis.delete(queue_name(Lane.LIVE))
        for upload_id in sent[:5]:
            task.attempt(upload_id, lambda upload, tx: (done.append(upload.id), tx.uploads.finish(upload.id, "done")))
        for upload_id in sent[5:]:
            send_moderation(app, stores_get(stores, upload_id))
        for upload in uploads:
            age(stores, upload, timedelta(minutes=6))
    assert sorted(done) == [upload.id for upload in uploads]


def test_a_nightly_job_runs_once_a_night_whenever_beat_comes_to_it(app, stores, monkeypatch):
    runs = []
    job = app.tasks["reconcile"]
    monkeypatch.setattr(job, "run", lambda: runs.append(1))
    for hour, expected in ((5, 1), (6, 1), (23, 1), (24 + 3, 1), (24 + 7, 2), (24 + 8, 2), (48 + 4, 3)):
        monkeypatch.setattr("workers.app.datetime", clock_at(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)))
        job()
        with stores._engine.begin() as connection:  # Postgres' clock is not ours to set
            connection.execute(
                text("UPDATE job_runs SET finished_at = :at WHERE finished_at > now() - interval '1 minute'"),
                {"at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)},
            )
        assert len(runs) == expected, hour


def test_a_nightly_job_that_died_is_run_again_after_its_time_limit(app, stores, monkeypatch):
    runs = []

    def die():
        runs.append(1)
        raise ZeroDivisionError

    job = app.tasks["reconcile"]
    monkeypatch.setattr(job, "run", die)
    with pytest.raises(ZeroDivisionError):
        job()
    job()  # perhaps it still runs elsewhere
    assert len(runs) == 1
    with stores._engine.begin() as connection:
        connection.execute(text("UPDATE job_runs SET started_at = started_at - interval '61 minutes'"))
    with pytest.raises(ZeroDivisionError):
        job()


def clock_at(moment):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return moment

    return Clock


def queued(app, lane=Lane.LIVE):
    """Upload ids in a lane's queue."""
    messages = [json.loads(message) for message in app.dependencies.redis.lrange(queue_name(lane), 0, -1)]
    return [int(message["headers"]["argsrepr"].strip("[]")) for message in messages]


def stores_get(stores, upload_id):
    with stores.transaction() as transaction:
        return transaction.uploads.get(upload_id)


def age(stores, upload, duration):
    """Make the row so much older."""
    with stores._engine.begin() as connection:
        connection.execute(
            text("UPDATE uploads SET queued_at = queued_at - :age, updated_at = updated_at - :age WHERE id = :id"),
            {"age": duration, "id": upload.id},
        )


def fail(error):
    def work(_upload, _transaction):
        raise error

    return work


def row(stores, upload):
    return stores_get(stores, upload.id)


def letters(stores):
    with stores.transaction() as transaction:
        return transaction.dead_letters.waiting()


def waits_for(stores, upload):
    """How long the row is postponed; an empty stretch where it is not."""
    from pipeline.store.models import UploadRow

    with stores.transaction() as transaction:
        not_before = transaction.uploads._session.get(UploadRow, upload.id).not_before
    return not_before - datetime.now(UTC) if not_before else timedelta()


def test_an_upload_that_was_erased_meanwhile_is_nobodys_failure(task, stores, upload):
    def erase(upload, _transaction):
        with stores.transaction() as transaction:
            connection = transaction.uploads._session
            for table, column in (("announcements", "upload_id"), ("uploads", "id")):
                connection.execute(text(f"DELETE FROM {table} WHERE {column} = {upload.id}"))  # noqa: S608 - a number
        raise RuntimeError("its row is gone")

    task.attempt(upload.id, erase)
    task.attempt(upload.id, lambda *_: pytest.fail("there is no upload"))
    assert letters(stores) == []
