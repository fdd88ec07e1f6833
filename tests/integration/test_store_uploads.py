"""The ledger."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from pipeline.errors import NotFound, StoreUnavailable
from pipeline.records import Lane, UploadState
from pipeline.settings import PostgresSettings
from pipeline.store import Stores
from tests.factories import add_upload, make_event

STALE_AFTER = timedelta(minutes=5)
PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)


def age(database, upload, minutes):
    """Make the row look untouched for so long."""
    database.execute(
        text("UPDATE uploads SET updated_at = now() - make_interval(mins => :minutes) WHERE id = :id"),
        {"minutes": minutes, "id": upload.id},
    )


def test_an_event_comes_back_as_it_was_recorded(stores):
    event = make_event(version_id="v1", sequencer="00AF", surface="avatars", lane=Lane.BACKFILL, callback="main")
    with stores.transaction() as tx:
        upload, is_new = tx.uploads.record(event)
        assert is_new
    with stores.transaction() as tx:
        assert tx.uploads.get(upload.id) == upload
    assert upload.event == event
    assert (upload.state, upload.attempts) == (UploadState.QUEUED, 0)


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({}, True),
        ({"event_id": "said-again"}, True),  # the same object, told of by another door
        ({"lane": Lane.RESCORE}, True),
        ({"etag": "f" * 32}, False),  # overwritten since
        ({"key": "other.jpg"}, False),
        ({"bucket": "other"}, False),
        ({"version_id": "v2"}, True),  # the ETag agrees: a notification of an object that a listing announced
        ({"version_id": "v2", "etag": None}, False),  # nothing says that it is the same
        ({"version_id": "v2", "etag": "f" * 32}, False),
    ],
)
def test_one_row_per_object_version(stores, changes, is_same):
    event = make_event()
    with stores.transaction() as tx:
        first, _ = tx.uploads.record(event)
        second, is_new = tx.uploads.record(event.model_copy(update=changes))
    assert (second.id == first.id, is_new) == (is_same, not is_same)


def test_an_attempt_is_counted_and_a_finished_row_is_left_alone(stores):
    with stores.transaction() as tx:
        upload = add_upload(tx)
        assert [tx.uploads.begin_attempt(upload.id).attempts for _ in range(2)] == [1, 2]
        assert tx.uploads.get(upload.id).state is UploadState.SCORING
        tx.uploads.finish(upload.id, UploadState.DONE)
        again = tx.uploads.begin_attempt(upload.id)
    assert (again.state, again.attempts) == (UploadState.DONE, 2)


def test_unknown_uploads_are_not_found(stores):
    for name in ("get", "begin_attempt", "requeue"):
        with pytest.raises(NotFound), stores.transaction() as tx:
            getattr(tx.uploads, name)(0)


@pytest.mark.parametrize(
    ("state", "minutes", "not_before", "is_claimed"),
    [
        (UploadState.QUEUED, 60, None, False),  # its message may only wait behind others
        (UploadState.SCORING, 6, None, True),  # its worker was lost
        (UploadState.SCORING, 4, None, False),
        (UploadState.QUEUED, 0, PAST, True),  # a retry whose wait is over
        (UploadState.QUEUED, 60, FUTURE, False),  # a retry that waits, however long
        (UploadState.DONE, 60, None, False),
        (UploadState.DEAD, 60, None, False),
    ],
)
def test_what_is_due(stores, database, state, minutes, not_before, is_claimed):
    with stores.transaction() as tx:
        upload = add_upload(tx)
        if state is UploadState.SCORING:
            tx.uploads.begin_attempt(upload.id)
        elif state in (UploadState.DONE, UploadState.DEAD):
            tx.uploads.finish(upload.id, state)
        elif not_before:
            tx.uploads.postpone(upload.id, not_before=not_before, error="DetectorUnavailable: full")
    age(database, upload, minutes)
    with stores.transaction() as tx:
        claimed = tx.uploads.claim_due(STALE_AFTER, limit=10)
        assert [row.id for row in claimed] == [upload.id] * is_claimed
    with stores.transaction() as tx:
        assert tx.uploads.claim_due(STALE_AFTER, limit=10) == []  # not every 30 s anew


def test_what_is_silent(stores, database):
    """Queued for long, on this lane, and waiting for nothing but a worker; the longest silent first."""
    with stores.transaction() as tx:
        first, second, fresh, waiting, scoring = (add_upload(tx) for _ in range(5))
        other = add_upload(tx, lane=Lane.BACKFILL)
        tx.uploads.postpone(waiting.id, not_before=FUTURE, error="")
        tx.uploads.begin_attempt(scoring.id)
        assert tx.uploads.count_ready(Lane.LIVE) == 3
    for upload, minutes in ((first, 7), (second, 6), (fresh, 4), (waiting, 9), (scoring, 9), (other, 9)):
        age(database, upload, minutes)
    for expected in (first, second):
        with stores.transaction() as tx:
            assert [row.id for row in tx.uploads.claim_silent(Lane.LIVE, STALE_AFTER, limit=1)] == [expected.id]
    with stores.transaction() as tx:
        assert tx.uploads.claim_silent(Lane.LIVE, STALE_AFTER, limit=10) == []


def test_a_claim_takes_at_most_its_limit_and_passes_over_locked_rows(fresh_dsn):
    stores = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn)))
    with stores.transaction() as tx:
        uploads = [add_upload(tx) for _ in range(3)]
        for upload in uploads:
            tx.uploads.postpone(upload.id, not_before=PAST, error="")
    with stores.transaction() as first, stores.transaction() as second:
        mine = first.uploads.claim_due(STALE_AFTER, limit=2)
        theirs = second.uploads.claim_due(STALE_AFTER, limit=2)
    assert len(mine) == 2
    assert sorted(row.id for row in mine + theirs) == [upload.id for upload in uploads]
    stores.close()


def test_the_same_event_at_several_consumers_is_one_row(fresh_dsn):
    stores, event = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn))), make_event()
    together = Barrier(4, timeout=10)

    def consume(_):
        with stores.transaction() as tx:
            tx.uploads.backlog()  # connects
            together.wait()
            return tx.uploads.record(event)

    with ThreadPoolExecutor(4) as consumers:
        taken = list(consumers.map(consume, range(4)))
    assert len({upload.id for upload, _ in taken}) == 1
    assert sorted(is_new for _, is_new in taken) == [False, False, False, True]
    stores.close()


def test_the_backlog_counts_what_is_unfinished(stores):
    with stores.transaction() as tx:
        waiting, scoring, done = add_upload(tx), add_upload(tx), add_upload(tx)
        add_upload(tx, lane=Lane.BACKFILL)
        tx.uploads.begin_attempt(scoring.id)
        tx.uploads.finish(done.id, UploadState.DONE)
        backlog = tx.uploads.backlog()
    assert {lane: entry.count for lane, entry in backlog.items()} == {Lane.LIVE: 2, Lane.BACKFILL: 1}
    assert backlog[Lane.LIVE].oldest == waiting.received_at


def test_an_exception_takes_everything_back(stores):
    event = make_event()
    with pytest.raises(NotFound), stores.transaction() as tx:
        tx.uploads.get(tx.uploads.record(event)[0].id + 1)
    with stores.transaction() as tx:
        assert tx.uploads.find(event.event_id) == []


@pytest.mark.parametrize("port", [1, 9])  # reserved: nothing listens
def test_a_postgres_that_is_away_is_our_error(port):
    settings = PostgresSettings(dsn=SecretStr(f"postgresql+psycopg://nobody:secret@127.0.0.1:{port}/none"))
    with pytest.raises(StoreUnavailable) as raised:
        Stores(settings).ping()
    assert "secret" not in str(raised.value)


def lose_connection(tx, event):
    tx.uploads.record(event)
    tx.uploads._session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def test_a_connection_that_postgres_ends_is_our_error(fresh_dsn):
    stores, event = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn))), make_event()
    with pytest.raises(StoreUnavailable), stores.transaction() as tx:
        lose_connection(tx, event)
    with stores.transaction() as tx:  # on a new connection; of the old one's work nothing is left
        assert tx.uploads.find(event.event_id) == []
    stores.close()


def test_a_statement_that_takes_too_long_is_our_error(fresh_dsn):
    stores = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn), statement_timeout=0.1))
    with pytest.raises(StoreUnavailable), stores.transaction() as tx:
        tx.uploads._session.execute(text("SELECT pg_sleep(5)"))
    stores.close()


def test_an_exhausted_pool_is_our_error(fresh_dsn):
    stores = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn), pool_size=1, connect_timeout=0.1))
    with stores.transaction() as tx:
        tx.uploads.backlog()
        with pytest.raises(StoreUnavailable):
            stores.ping()
    stores.close()
