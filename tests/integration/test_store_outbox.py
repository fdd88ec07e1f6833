"""Work that leaves by itself or by hand: webhooks and dead letters."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from pipeline.errors import Conflict, NotFound
from pipeline.records import UploadState, VerdictKind
from pipeline.settings import PostgresSettings
from pipeline.store import Stores
from tests.factories import add_model, add_upload, add_verdict, make_examination

LEASE = timedelta(minutes=2)
PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)


@pytest.fixture
def delivery(stores):
    with stores.transaction() as tx:
        add_verdict(tx, add_model(tx), VerdictKind.NOT_CAMERA, callback="main", event_id="e-1")
        [delivery] = tx.outbox.claim(limit=10, lease=LEASE)
    return delivery


def claim(stores):
    with stores.transaction() as tx:
        return tx.outbox.claim(limit=10, lease=LEASE)


def test_a_webhook_carries_the_verdict(stores):
    examination = make_examination()
    with stores.transaction() as tx:
        upload, model = add_upload(tx, callback="main"), add_model(tx)
        add_verdict(tx, model, VerdictKind.NOT_CAMERA, upload=upload, examination=examination)
        [delivery] = tx.outbox.claim(limit=10, lease=LEASE)
    assert (delivery.callback, delivery.attempts) == ("main", 1)
    payload = delivery.payload
    assert (payload["event_id"], payload["key"]) == (upload.event.event_id, upload.event.key)
    assert (payload["verdict"], payload["model_version"]) == ("not_camera", model.name)
    assert payload["log_likelihood"] == examination.score.log_likelihood
    assert payload["notice"] == "A signal, never proof."
    assert "uploader-1" not in str(payload)


def test_a_claimed_delivery_is_nobody_elses(stores, delivery):
    assert claim(stores) == []


def test_a_lease_that_ran_out_is_tried_again_under_the_same_id(stores, database, delivery):
    database.execute(text("UPDATE outbox SET not_before = now() - interval '1 s'"))
    [again] = claim(stores)
    assert (again.delivery_id, again.attempts) == (delivery.delivery_id, 2)


@pytest.mark.parametrize(
    ("settle", "is_tried_again"),
    [
        (lambda outbox, id: outbox.delivered(id), False),
        (lambda outbox, id: outbox.abandon(id, error="HTTP 410"), False),
        (lambda outbox, id: outbox.postpone(id, not_before=FUTURE, error="HTTP 503"), False),
        (lambda outbox, id: outbox.postpone(id, not_before=PAST, error="HTTP 503"), True),
    ],
    ids=["delivered", "abandoned", "postponed", "due"],
)
def test_what_becomes_of_a_delivery(stores, database, delivery, settle, is_tried_again):
    database.execute(text("UPDATE outbox SET not_before = now() - interval '1 s'"))  # the lease protects nothing here
    with stores.transaction() as tx:
        settle(tx.outbox, delivery.id)
    assert bool(claim(stores)) is is_tried_again


def test_two_senders_share_the_outbox(fresh_dsn):
    stores = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn)))
    with stores.transaction() as tx:
        model = add_model(tx)
        for _ in range(3):
            add_verdict(tx, model, callback="main")
    with stores.transaction() as first, stores.transaction() as second:
        mine, theirs = (tx.outbox.claim(limit=2, lease=LEASE) for tx in (first, second))
    assert len(mine) == 2
    assert len(theirs) == 1
    assert not {delivery.id for delivery in mine} & {delivery.id for delivery in theirs}
    stores.close()


@pytest.fixture
def dead(stores):
    """An upload that died, and its letter."""
    with stores.transaction() as tx:
        upload = add_upload(tx)
        for _ in range(3):
            tx.uploads.begin_attempt(upload.id)
        tx.results.bury(upload.id, stage="moderate", reason="DetectorUnavailable", detail="full")
        [letter] = tx.dead_letters.waiting()
        assert tx.dead_letters.get(letter.id) == letter
    return upload, letter


def test_a_replayed_letter_queues_its_upload_with_all_attempts(stores, dead):
    upload, letter = dead
    with stores.transaction() as tx:
        again = tx.dead_letters.replay(letter.id, actor="ann")
        assert tx.dead_letters.waiting() == []
        assert tx.dead_letters.get(letter.id).resolution == "replayed"
    assert (again.id, again.state, again.attempts) == (upload.id, UploadState.QUEUED, 0)


def test_a_replay_that_fails_again_is_a_new_letter(stores, dead):
    upload, letter = dead
    with stores.transaction() as tx:
        tx.dead_letters.replay(letter.id, actor="ann")
        tx.uploads.begin_attempt(upload.id)
        tx.results.bury(upload.id, stage="moderate", reason="DetectorUnavailable", detail="still full")
        [second] = tx.dead_letters.waiting()
    assert second.id != letter.id
    assert second.attempts == 1


def test_a_dropped_letter_leaves_its_upload_dead(stores, dead):
    upload, letter = dead
    with stores.transaction() as tx:
        tx.dead_letters.drop(letter.id, actor="ann")
        assert tx.dead_letters.waiting() == []
        assert tx.uploads.get(upload.id).state is UploadState.DEAD


@pytest.mark.parametrize("verb", ["replay", "drop"])
def test_a_letter_is_resolved_once(stores, dead, verb):
    with stores.transaction() as tx:
        tx.dead_letters.drop(dead[1].id, actor="ann")
    with pytest.raises(Conflict, match="dropped by ann"), stores.transaction() as tx:
        getattr(tx.dead_letters, verb)(dead[1].id, actor="bob")
    with pytest.raises(NotFound), stores.transaction() as tx:
        getattr(tx.dead_letters, verb)(0, actor="bob")


def test_an_event_that_never_became_an_upload_is_given_back(stores):
    with stores.transaction() as tx:
        tx.dead_letters.bury_event(stage="event", reason="InvalidEvent", detail="no key", payload={"fields": {}})
        [letter] = tx.dead_letters.waiting()
    assert (letter.upload_id, letter.payload) == (None, {"fields": {}})
    with stores.transaction() as tx:
        assert tx.dead_letters.replay(letter.id, actor="ann") == {"fields": {}}
        assert tx.dead_letters.waiting() == []
