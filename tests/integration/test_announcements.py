"""Every event gets an answer of its own, also one that comes late; and one object is one row, whoever announces it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from time import sleep

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from pipeline.errors import StoreUnavailable
from pipeline.records import UploadState, VerdictKind
from pipeline.settings import PostgresSettings
from pipeline.store import Stores
from tests.factories import add_model, add_upload, add_verdict, make_event, make_examination, make_verdict


@pytest.fixture
def own_stores(fresh_dsn):
    """With connections of its own, for two at once."""
    stores = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn)))
    yield stores
    stores.close()


def webhooks(stores):
    """(event id, callback, verdict) of each webhook that waits."""
    with stores.transaction() as tx:
        found = tx.outbox.claim(limit=100, lease=timedelta(0))
    return sorted((one.payload["event_id"], one.callback, one.payload["verdict"]) for one in found)


def test_each_announcement_with_a_callback_gets_its_webhook(stores):
    first = make_event(event_id="first", callback="feed")
    with stores.transaction() as tx:
        upload, _ = tx.uploads.record(first)
        for event_id, callback in (("second", "feed"), ("third", "audit"), ("silent", None), ("second", "feed")):
            again, starts = tx.uploads.record(first.model_copy(update={"event_id": event_id, "callback": callback}))
            assert (again.id, again.event, starts) == (upload.id, first, False)
        add_verdict(tx, add_model(tx), VerdictKind.NOT_CAMERA, upload=upload)
    assert webhooks(stores) == [
        ("first", "feed", "not_camera"),
        ("second", "feed", "not_camera"),
        ("third", "audit", "not_camera"),
    ]


def test_an_announcement_after_the_verdict_is_answered_at_once_and_alone(stores):
    first = make_event(event_id="first", callback="feed")
    with stores.transaction() as tx:
        upload, _ = tx.uploads.record(first)
        add_verdict(tx, add_model(tx), upload=upload)
    with stores.transaction() as tx:
        for _ in range(2):
            tx.uploads.record(first.model_copy(update={"event_id": "late"}))
        assert tx.uploads.get(upload.id).state is UploadState.DONE
    assert webhooks(stores) == [("first", "feed", "camera"), ("late", "feed", "camera")]


def test_a_late_webhook_says_what_the_first_one_said(stores):
    first = make_event(event_id="first", callback="feed", version_id="v1")
    with stores.transaction() as tx:
        upload, _ = tx.uploads.record(first)
        add_verdict(tx, add_model(tx), upload=upload)
        tx.uploads.record(first.model_copy(update={"event_id": "late"}))
        one, late = (delivery.payload for delivery in tx.outbox.claim(limit=9, lease=timedelta(0)))
    assert late == one | {"event_id": "late"}
    assert one["version_id"] == "v1"


def test_a_newer_model_answers_all_of_them_again(stores):
    first = make_event(event_id="first", callback="feed")
    with stores.transaction() as tx:
        upload, _ = tx.uploads.record(first)
        tx.uploads.record(first.model_copy(update={"event_id": "second"}))
        for kind in (VerdictKind.CAMERA, VerdictKind.UNSURE):
            add_verdict(tx, add_model(tx), kind, upload=upload)
    assert len(webhooks(stores)) == 4


def test_every_event_id_finds_the_verdict(stores):
    first = make_event(event_id="first")
    with stores.transaction() as tx:
        upload, _ = tx.uploads.record(first)
        tx.uploads.record(first.model_copy(update={"event_id": "second"}))
        add_verdict(tx, add_model(tx), upload=upload)
        for event_id in ("first", "second"):
            assert [found.id for found in tx.uploads.find(event_id)] == [upload.id]
        views = tx.verdicts.of_events(["first", "second", "third"])
    assert {event_id: view.event_id for event_id, view in views.items()} == {"first": "first", "second": "second"}
    assert len({view.verdict_id for view in views.values()}) == 1


@pytest.mark.parametrize("first", ["announcement", "verdict"])
def test_an_announcement_and_the_verdict_at_once_lose_no_webhook(own_stores, first):
    """Whoever is second waits, and sees what the first one wrote."""
    event = make_event(event_id="first")
    with own_stores.transaction() as tx:
        upload, _ = tx.uploads.record(event)
        model, examination = add_model(tx), make_examination()
        tx.results.save_examination(examination, model)

    def announce(dawdle):
        with own_stores.transaction() as tx:
            tx.uploads.record(event.model_copy(update={"event_id": "second", "callback": "feed"}))
            sleep(dawdle)

    def decide(dawdle):
        with own_stores.transaction() as tx:
            tx.results.save_verdict(upload, examination, make_verdict(), model)
            tx.uploads.finish(upload.id, UploadState.DONE, sha256=examination.sha256)
            sleep(dawdle)

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(announce if first == "announcement" else decide, 1.0)
        sleep(0.4)
        pool.submit(decide if first == "announcement" else announce, 0).result(timeout=10)
        slow.result(timeout=10)
    assert webhooks(own_stores) == [("second", "feed", "camera")]


BY_ETAG = {"version_id": None, "etag": "e" * 32}
BY_BOTH = {"version_id": "v1", "etag": "e" * 32}


@pytest.mark.parametrize("first", [BY_ETAG, BY_BOTH], ids=["listing first", "notification first"])
def test_a_listing_and_a_versioned_notification_of_one_object_are_one_row(stores, first):
    second = BY_BOTH if first is BY_ETAG else BY_ETAG
    with stores.transaction() as tx:
        upload = add_upload(tx, key="a.jpg", event_id="1", **first)
        again, starts = tx.uploads.record(make_event(key="a.jpg", event_id="2", **second))
    assert (again.id, starts, again.event.version_id) == (upload.id, False, "v1")


def test_two_versions_with_equal_bytes_are_two_rows_and_a_listing_means_the_newer(stores):
    with stores.transaction() as tx:
        one = add_upload(tx, key="a.jpg", **BY_BOTH, sequencer="01")
        two = add_upload(tx, key="a.jpg", **BY_BOTH | {"version_id": "v2"}, sequencer="02")
        found, _ = tx.uploads.record(make_event(key="a.jpg", **BY_ETAG))
    assert one.id != two.id == found.id


def test_what_nothing_tells_apart_or_together_stays_apart(stores):
    """The limits, as documented: no version and no ETag; or a version without an ETag."""
    with stores.transaction() as tx:
        kinds = ({"etag": None}, {"etag": None}, BY_ETAG, {"version_id": "v1", "etag": None})
        uploads = [add_upload(tx, key="a.jpg", **kind) for kind in kinds]
    assert len({upload.id for upload in uploads}) == 4


def test_two_consumers_at_once_write_one_row(own_stores):
    together = Barrier(2, timeout=10)

    def consume(kind):
        for number in range(20):
            with own_stores.transaction() as tx:
                together.wait()
                tx.uploads.record(make_event(key=f"{number}.jpg", **kind))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(consume, [BY_ETAG, BY_BOTH]))
    with own_stores._engine.connect() as connection:
        rows = connection.execute(text("SELECT object_key, version_id FROM uploads")).all()
    assert len(rows) == len({key for key, _ in rows}) == 20
    assert {version for _, version in rows} == {"v1"}


def test_batches_that_share_keys_in_any_order_do_not_wait_in_a_circle(own_stores):
    events = [make_event(key=f"{number}.jpg") for number in range(30)]
    together = Barrier(2, timeout=20)

    def consume(batch):
        for _ in range(5):
            together.wait()
            with own_stores.transaction() as tx:
                tx.uploads.lock(batch)
                for event in batch:
                    tx.uploads.record(event)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(consume, [events, events[::-1]]))
    with own_stores._engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM uploads")).scalar_one() == 30


def test_a_deadlock_is_an_error_that_a_later_try_may_not_have(own_stores):
    """Without the batch's lock, two batches in opposite orders end so, and the consumer takes its batch again."""
    first, second = make_event(), make_event()
    together = Barrier(2, timeout=10)

    def consume(batch):
        try:
            with own_stores.transaction() as tx:
                tx.uploads.record(batch[0])
                together.wait()
                tx.uploads.record(batch[1])
        except StoreUnavailable as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as pool:
        errors = sorted(pool.map(consume, [[first, second], [second, first]]))
    assert errors[0] == ""
    assert "deadlock" in errors[1].lower()
