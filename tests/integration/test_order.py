"""Deletions, and the order of what happened to one key: the end depends on neither arrival nor repetition."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from pipeline.errors import Conflict, NotFound, Overtaken
from pipeline.records import EventKind, UploadEvent, UploadState, VerdictKind
from pipeline.store.models import DeletionRow, UploadRow
from tests.factories import add_model, add_upload, add_verdict, make_event, make_examination, make_verdict
from tests.reviewing import say, waiting

KEY = "same.jpg"
START = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = itertools.count()


def at(second, **fields):
    """An event of one key in the `second`-th second, sequencer and time in agreement."""
    fields = {"sequencer": f"{second:04X}", "uploaded_at": START + timedelta(seconds=second), "key": KEY} | fields
    return make_event(**fields)


def created(second, etag="a", **fields):
    return at(second, etag=etag, **fields)


def deleted(second, **fields):
    return at(second, kind=EventKind.DELETED, etag=None, **fields)


def take(tx, *events, batch=1):
    """What the consumer does, with so many events at a time."""
    for start in range(0, len(events), batch):
        together = events[start : start + batch]
        new = tx.uploads.record_new(together)
        for event in together:
            if event not in new:
                (tx.uploads.delete if event.kind is EventKind.DELETED else tx.uploads.record)(event)


def state(tx, key=KEY):
    """What the ledger says in the end: each row, and which of them the object is."""
    rows = tx.uploads._session.scalars(select(UploadRow).where(UploadRow.object_key == key))
    ledger = {(row.etag, row.version_id, row.sequencer, row.uploaded_at, row.deleted_at) for row in rows}
    try:
        event = tx.uploads.newest("uploads", key).event
    except NotFound:
        return ledger, None
    return ledger, (event.etag, event.version_id)


class Done(Exception):
    """Takes back what an example wrote."""


def ended(stores, events, key, batch=1):
    """The state after these events, in this order; nothing of it is kept."""
    try:
        with stores.transaction() as tx:
            take(tx, *events, batch=batch)
            raise Done(state(tx, key))
    except Done as done:
        return done.args[0]


@st.composite
def histories(draw, *, sequenced, versioned, skewed=False):
    """What happened to one key, one thing after the other; with `skewed`, only the sequencers know it."""
    key, events = f"{next(_numbers)}.jpg", []
    versions = []
    for second in range(draw(st.integers(1, 6))):
        clock = draw(st.integers(0, 3)) if skewed else second
        common = {
            "key": key,
            "sequencer": f"{second:02X}" if sequenced else None,
            "uploaded_at": START + timedelta(seconds=clock),
        }
        kind = draw(
            st.sampled_from(["create", "create", "delete", "delete version"] if versioned else ["create", "delete"])
        )
        if kind == "delete version" and versions:
            events.append(deleted(second, **common, version_id=draw(st.sampled_from(versions))))
        elif kind.startswith("delete"):
            events.append(deleted(second, **common))
        else:
            version = f"v{second}" if versioned else None
            events.append(created(second, draw(st.sampled_from("abc")), **common, version_id=version))
            versions += [version] * versioned
    return key, events


def expected(events):
    """The object in the end, by a model that sees the events in order: (etag, version), or None."""
    alive = []
    for event in events:
        if event.kind is EventKind.CREATED:
            if event.version_id is None:
                alive = [event]
            else:
                alive.append(event)
        elif event.version_id is not None:
            alive = [one for one in alive if one.version_id != event.version_id]
        else:
            alive = []
    return (alive[-1].etag, alive[-1].version_id) if alive else None


@pytest.mark.parametrize("sequenced", [True, False], ids=["sequencers alone", "times"])
@pytest.mark.parametrize("versioned", [True, False], ids=["versions", "no versions"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_end_depends_on_neither_arrival_nor_repetition(stores, sequenced, versioned, data):
    key, events = data.draw(histories(sequenced=sequenced, versioned=versioned, skewed=sequenced))
    repeated = events + data.draw(st.lists(st.sampled_from(events), max_size=3))
    shuffled = data.draw(st.permutations(repeated))
    ledger, newest = ended(stores, events, key)
    assert newest == expected(events)
    assert ended(stores, shuffled, key, batch=data.draw(st.integers(1, 4))) == (ledger, newest)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_listing_among_versioned_notifications_changes_no_answer(stores, data):
    """A listing knows the ETag only. Whichever version it is taken for, the bytes that are judged are the same."""
    key, events = data.draw(histories(sequenced=True, versioned=True))
    listed = [
        event.model_copy(update={"version_id": None, "sequencer": None, "event_id": f"listed {event.event_id}"})
        for event in events
        if event.kind is EventKind.CREATED and data.draw(st.booleans())
    ]
    _, newest = ended(stores, data.draw(st.permutations(events + listed)), key)
    wanted = expected(events)
    if not any(event.version_id for event in events if event.kind is EventKind.DELETED):
        assert (newest and newest[0]) == (wanted and wanted[0])


def test_a_deletion_closes_what_is_not_newer(stores):
    with stores.transaction() as tx:
        take(tx, created(1, "a"), created(3, "c"), deleted(2))
        rows = tx.uploads._session.scalars(select(UploadRow).order_by(UploadRow.sequencer_order)).all()
        assert [row.deleted_at for row in rows] == [START + timedelta(seconds=2), None]


def test_a_deleted_object_has_no_verdict_and_nobody_reviews_it(stores):
    with stores.transaction() as tx:
        upload, _ = tx.uploads.record(created(1))
        add_verdict(tx, add_model(tx), VerdictKind.UNSURE, upload=upload)
        [item] = waiting(tx)
        take(tx, deleted(2), deleted(2))
        assert tx.verdicts.of_object("uploads", KEY) is None
        assert waiting(tx) == []
        with pytest.raises(NotFound, match="was deleted at 2026-01-01T00:00:02Z"):
            tx.uploads.newest("uploads", KEY)
        assert tx.verdicts.of_upload(upload.id).deleted_at == START + timedelta(seconds=2)
    with pytest.raises(Conflict), stores.transaction() as tx:
        say(tx, item.id)


def test_an_object_that_is_put_again_is_judged_and_reviewed_again(stores):
    examination = make_examination()
    with stores.transaction() as tx:
        model = add_model(tx)
        upload, _ = tx.uploads.record(created(1))
        add_verdict(tx, model, VerdictKind.UNSURE, upload=upload, examination=examination)
        take(tx, deleted(2))
        again, starts = tx.uploads.record(created(3))
        assert (again.id, starts, again.state, again.deleted_at) == (upload.id, True, UploadState.QUEUED, None)
        add_verdict(tx, model, VerdictKind.UNSURE, upload=again, examination=examination)
        assert len(waiting(tx)) == 1
        assert tx.verdicts.of_object("uploads", KEY).upload_id == upload.id


def test_an_object_that_was_overwritten_in_between_is_judged_again(stores):
    """An event with an ETag only judges what the key holds: perhaps the other object's bytes."""
    with stores.transaction() as tx:
        upload, _ = tx.uploads.record(created(1, "a"))
        add_verdict(tx, add_model(tx), upload=upload)
        assert tx.uploads.record(created(2, "b"))[1] is True
        assert tx.uploads.record(created(1, "a"))[1] is False  # the same notification again
        assert tx.uploads.record(created(3, "a", event_id="by hand", sequencer=None))[1] is False  # by another door
    with stores.transaction() as tx:
        upload, _ = tx.uploads.record(created(1, "a", key="other.jpg"))
        add_verdict(tx, add_model(tx), upload=upload)
        assert tx.uploads.record(created(3, "a", key="other.jpg"))[1] is True


def test_a_deletion_ends_the_wait_of_an_unfinished_upload(stores):
    with stores.transaction() as tx:
        upload, _ = tx.uploads.record(created(1))
        tx.uploads.begin_attempt(upload.id)
        tx.uploads.postpone(upload.id, not_before=datetime(2040, 1, 1, tzinfo=UTC), error="away")
        take(tx, deleted(2))
        [due] = tx.uploads.claim_due(timedelta(minutes=5), limit=5)
        assert (due.id, due.deleted_at) == (upload.id, START + timedelta(seconds=2))


def test_a_verdict_of_a_deleted_upload_opens_no_review(stores):
    with stores.transaction() as tx:
        upload, _ = tx.uploads.record(created(1))
        take(tx, deleted(2))
        add_verdict(tx, add_model(tx), VerdictKind.UNSURE, upload=upload)
        assert waiting(tx) == []


def test_a_rejection_for_deletion_is_not_written_when_the_object_is_back(stores):
    with stores.transaction() as tx:
        model = add_model(tx)
        take(tx, deleted(2))
        upload, _ = tx.uploads.record(created(1))
        begun = tx.uploads.begin_attempt(upload.id)
        assert begun.deleted_at is not None
        take(tx, created(3))
        with pytest.raises(Overtaken):
            tx.results.save_verdict(begun, make_examination(sha256=""), make_verdict(VerdictKind.REJECTED), model)


def test_a_deletion_that_was_forgotten_still_holds_until_there_is_news(stores):
    """Deletions are kept for a month, uploads for a year."""
    with stores.transaction() as tx:
        take(tx, created(1), deleted(2))
        tx.uploads._session.execute(delete(DeletionRow))
        take(tx, created(1, event_id="a backfill", sequencer=None))
        with pytest.raises(NotFound):
            tx.uploads.newest("uploads", KEY)
        take(tx, created(3))
        assert tx.uploads.newest("uploads", KEY)


def test_a_version_that_is_deleted_leaves_the_others(stores):
    with stores.transaction() as tx:
        take(tx, created(1, "a", version_id="v1"), created(2, "b", version_id="v2"), deleted(3, version_id="v2"))
        assert tx.uploads.newest("uploads", KEY).event.version_id == "v1"


def test_other_keys_and_buckets_stay(stores):
    with stores.transaction() as tx:
        add_upload(tx, key="other.jpg")
        take(tx, created(1), deleted(2), created(1, bucket="elsewhere"))
        assert tx.uploads.newest("uploads", "other.jpg")
        assert tx.uploads.newest("elsewhere", KEY)
        with pytest.raises(NotFound, match="never announced"):
            tx.uploads.newest("uploads", "third.jpg")


def test_an_event_says_what_it_is():
    assert UploadEvent.model_validate(created(1).model_dump()).kind is EventKind.CREATED
