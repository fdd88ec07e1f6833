"""What follows from decisions: outcomes, disputes, undo, labels for the nightly job, webhooks, the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from pipeline.errors import Conflict
from pipeline.records import ItemState, Label, VerdictKind
from pipeline.review.decisions import Statement, decide, decide_copies, end_dispute, undo
from pipeline.review.items import Order, Reason, Which
from pipeline.review.queue import claim_next, take
from pipeline.settings import ReviewSettings
from tests.factories import add_model, add_upload, add_verdict, make_event, make_examination
from tests.reviewing import SETTINGS, say, waiting

NO_GOLDEN = ReviewSettings(golden_share=0)


@pytest.fixture
def tx(stores):
    with stores.transaction() as transaction:
        yield transaction


@pytest.fixture
def model(tx):
    return add_model(tx, encoder_version=3)


@pytest.fixture
def add(tx, model):
    """Adds an open item; returns its id."""

    def add_one(**more) -> int:
        before = {item.id for item in waiting(tx)}
        add_verdict(tx, model, VerdictKind.UNSURE, **more)
        [new] = {item.id for item in waiting(tx)} - before
        return new

    return add_one


def age_decisions(database, age: str):
    database.execute(text("ALTER TABLE decisions DISABLE TRIGGER USER"))
    database.execute(text("UPDATE decisions SET created_at = created_at - CAST(:age AS interval)"), {"age": age})
    database.execute(text("ALTER TABLE decisions ENABLE TRIGGER USER"))


def is_verified(database, tx, item) -> bool:
    sha256 = tx.queue.get(item).sha256
    return database.scalar(text("SELECT is_verified FROM embeddings WHERE sha256 = :sha256"), {"sha256": sha256})


def verified(tx) -> tuple[int, int]:
    """How many photographs and AI images the nightly job may use."""
    needed = {"reviewers_needed": 2, "limit": 10}
    photos = tx.training.verified_photos(3, trusted_surfaces=[], **needed)
    return len(photos), len(tx.training.confirmed_ai(3, **needed))


def reviews_sent(database) -> list[tuple[str, str, bool]]:
    rows = database.execute(
        text("""
            SELECT payload ->> 'purpose', payload ->> 'outcome', not_before > now() + interval '10 min'
            FROM outbox WHERE about = 'review' ORDER BY id
        """)
    )
    return [tuple(row) for row in rows]


def test_a_decision_closes_the_item_counts_its_time_and_is_audited(tx, add, database):
    item = add()
    claim_next(tx, "ann", Which(), Order.OLDEST, NO_GOLDEN)
    shown = text("UPDATE review_items SET held_since = now() - interval '42 s' WHERE id = :id")
    database.execute(shown, {"id": item})
    given = decide(tx, item, "ann", Statement(Label.CAMERA, Reason.SENSOR_TRACES, " grain "), SETTINGS)
    assert given.seconds == pytest.approx(42, abs=0.1)
    found = tx.queue.get(item)
    assert (found.state, found.outcome, found.held_by) == (ItemState.DECIDED, Label.CAMERA, None)
    assert found.closed_at is not None
    [audit] = database.execute(text("SELECT actor, action, subject, detail FROM audit_log"))
    detail = {"label": "camera", "reason": "sensor_traces", "note": "grain"}
    assert tuple(audit) == ("ann", "review.decided", f"review_item:{item}", detail)


def test_two_who_agree_decide_where_two_are_needed(tx, add, database):
    item = add(decisions_needed=2)
    say(tx, item, "ann")
    assert tx.queue.get(item).state is ItemState.OPEN
    with pytest.raises(Conflict, match="ann has decided"):
        say(tx, item, "Ann ")
    assert not is_verified(database, tx, item)
    say(tx, item, "bob")
    assert tx.queue.get(item).outcome is Label.CAMERA
    assert is_verified(database, tx, item)
    assert verified(tx) == (1, 0)
    with pytest.raises(Conflict, match="decided"):
        say(tx, item, "eve")


def test_a_dispute_is_ended_by_a_lead_who_is_none_of_those_who_disagree(tx, add, database):
    item = add(decisions_needed=2)
    with pytest.raises(Conflict, match="not disputed"):
        end_dispute(tx, item, "lea", Statement(Label.CAMERA), SETTINGS)
    say(tx, item, "ann", "camera")
    say(tx, item, "bob", "not_camera")
    assert [found.id for found in tx.queue.disputed()] == [item]
    assert waiting(tx) == []
    with pytest.raises(Conflict, match="another lead decides"):
        end_dispute(tx, item, "bob", Statement(Label.NOT_CAMERA), SETTINGS)
    assert verified(tx) == (0, 0)
    given = end_dispute(tx, item, "lea", Statement(Label.CAMERA), SETTINGS)
    assert given.is_final
    assert tx.queue.get(item).outcome is Label.CAMERA
    assert verified(tx) == (1, 0), "the doubt is overruled, two say camera"
    assert is_verified(database, tx, item)
    assert "dispute.ended" in set(database.scalars(text("SELECT action FROM audit_log")))


def test_a_decision_that_was_taken_back_counts_for_nothing_and_stays_to_be_read(tx, add, database):
    item = add(decisions_needed=2)
    say(tx, item, "ann")
    given = say(tx, item, "bob")
    reopened = undo(tx, "bob", SETTINGS, decision_id=given.id)
    assert (reopened.state, reopened.held_by) == (ItemState.OPEN, "bob")
    assert reopened.held_since is not None
    assert verified(tx) == (0, 0)
    assert not is_verified(database, tx, item)
    assert database.scalar(text("SELECT count(*) FROM decisions")) == 2
    with pytest.raises(Conflict, match="last decision"):
        undo(tx, "bob", SETTINGS, decision_id=given.id)
    decide(tx, item, "bob", Statement(Label.NOT_CAMERA), SETTINGS)
    assert tx.queue.get(item).state is ItemState.DISPUTED


def test_only_the_last_decision_can_be_taken_back_and_for_a_while_only(tx, add, database):
    first, second = say(tx, add()), say(tx, add())
    with pytest.raises(Conflict, match="last decision"):
        undo(tx, "ann", SETTINGS, decision_id=first.id)
    age_decisions(database, "9 min")
    undo(tx, "ann", SETTINGS, decision_id=second.id)
    age_decisions(database, "2 min")
    with pytest.raises(Conflict, match="for 0:10:00"):
        undo(tx, "ann", SETTINGS)
    with pytest.raises(Conflict, match="last decision"):
        undo(tx, "bob", SETTINGS)


def test_undo_is_refused_once_somebody_elses_decision_closed_the_item(tx, add):
    item = add(decisions_needed=2)
    say(tx, item, "ann")
    say(tx, item, "bob")
    with pytest.raises(Conflict, match="somebody else has decided"):
        undo(tx, "ann", SETTINGS)


def test_what_went_while_an_item_was_closed_is_not_asked_for_again_by_undo(tx, add, database):
    item = add(key="gone.jpg")
    say(tx, item, "ann")
    tx.uploads.delete(make_event(kind="deleted", key="gone.jpg"))
    assert undo(tx, "ann", SETTINGS).state is ItemState.WITHDRAWN
    assert waiting(tx) == []


def test_undo_leaves_the_item_with_who_works_on_it(tx, add):
    item = add(decisions_needed=2)
    say(tx, item, "ann")
    take(tx, item, "bob", NO_GOLDEN)
    assert undo(tx, "ann", SETTINGS).held_by == "bob"
    decide(tx, item, "bob", Statement(Label.NOT_CAMERA), SETTINGS)
    assert tx.queue.get(item).state is ItemState.OPEN, "one decision of two"


def test_a_doubt_unverifies_a_photograph_wherever_it_is_raised(tx, add, model, database):
    examination = make_examination()
    item = add(examination=examination, decisions_needed=2)
    say(tx, item, "ann")
    say(tx, item, "bob")
    upload = add_upload(tx)
    add_verdict(tx, model, VerdictKind.CAMERA, upload=upload, examination=examination, sampled=True)
    say(tx, waiting(tx)[0].id, "eve", "not_camera")
    assert not is_verified(database, tx, item)
    assert verified(tx) == (0, 0)
    undo(tx, "eve", SETTINGS)
    assert is_verified(database, tx, item)


def test_at_night_embeddings_of_another_encoder_are_verified_and_a_stricter_rule_holds(tx, add, database):
    examination = make_examination()
    for reviewer in ("ann", "bob"):
        say(tx, add(examination=examination), reviewer)
    say(tx, add(), "ann")
    tx.results.save_examination(examination, add_model(tx, encoder_version=4))
    marks = text("SELECT encoder_version, is_verified FROM embeddings WHERE sha256 = :sha256 ORDER BY 1")
    for needed, expected in ((2, True), (3, False)):
        tx.decisions.verify_all(reviewers_needed=needed)
        found = database.execute(marks, {"sha256": examination.sha256}).all()
        assert [tuple(row) for row in found] == [(3, expected), (4, expected)]
    assert not database.scalar(text("SELECT bool_or(is_verified) FROM embeddings"))


def test_what_was_decided_is_announced_once_it_can_no_longer_be_taken_back(tx, add, database):
    item = add(callback="main", event_id="e-1", key="a.jpg", surface="avatars")
    say(tx, item, "ann", "not_camera")
    assert reviews_sent(database) == [("unsure", "not_camera", True)]
    undo(tx, "ann", SETTINGS)
    assert reviews_sent(database) == []
    decide(tx, item, "ann", Statement(Label.CAMERA), SETTINGS)
    payload = database.scalar(text("SELECT payload FROM outbox WHERE about = 'review'"))
    assert datetime.fromisoformat(payload.pop("decided_at")) <= datetime.now(UTC)
    assert payload == {
        "type": "review",
        "event_id": "e-1",
        "bucket": "uploads",
        "key": "a.jpg",
        "surface": "avatars",
        "purpose": "unsure",
        "outcome": "camera",
        "notice": "A signal, never proof.",
    }
    assert [one.payload["type"] for one in tx.outbox.claim(limit=9, lease=timedelta(minutes=1))] == ["verdict"]


def test_nothing_is_announced_of_golden_items_and_of_what_is_still_open(tx, add, database):
    say(tx, add(callback="main", decisions_needed=2), "ann")
    closed = add(callback="main")
    say(tx, closed, "lea")
    golden = tx.golden.add(tx.queue.get(closed).upload_id, Label.CAMERA, actor="lea")
    say(tx, golden, "bob", "not_camera")
    assert reviews_sent(database) == [("unsure", "camera", True)]


def test_copies_are_decided_together_but_not_those_that_others_hold_or_that_were_decided(tx, add):
    shown, copy, held, done = (add() for _ in range(4))
    take(tx, held, "bob", NO_GOLDEN)
    say(tx, done, "eve", "camera")
    take(tx, shown, "ann", NO_GOLDEN)
    said = Statement(Label.NOT_CAMERA)
    assert decide_copies(tx, shown, [held, done, copy, shown, 999_999], "ann", said, SETTINGS) == [copy]
    assert tx.queue.get(shown).outcome is tx.queue.get(copy).outcome is Label.NOT_CAMERA
    assert tx.queue.get(done).outcome is Label.CAMERA
    assert tx.queue.get(held).held_by == "bob"
    [of_copy], [of_shown] = tx.decisions.given(copy), tx.decisions.given(shown)
    assert (of_copy.seconds, of_shown.seconds) == (None, 0)
    assert tx.decisions.last("ann") == of_shown, "what undo takes back first"


def test_copies_of_a_golden_item_are_decided_with_it(tx, add):
    examination = make_examination()
    known, copy = add(examination=examination), add(examination=examination)
    say(tx, known, "lea")
    golden = tx.golden.add(tx.queue.get(known).upload_id, Label.CAMERA, actor="lea")
    take(tx, golden, "ann", NO_GOLDEN)
    assert decide_copies(tx, golden, [copy], "ann", Statement(Label.CAMERA), SETTINGS) == [copy]
    assert [given.reviewer for given in tx.decisions.given(golden)] == ["ann"]


def test_answers_that_a_golden_item_belies_verify_nothing(tx, add, database):
    item = add()
    say(tx, item, "lea", "cant_tell")
    golden = tx.golden.add(tx.queue.get(item).upload_id, Label.NOT_CAMERA, actor="lea")
    for reviewer in ("ann", "bob"):
        say(tx, golden, reviewer, "camera")
    assert not is_verified(database, tx, golden)
    assert verified(tx) == (0, 0)
    for reviewer in ("eve", "joe"):
        say(tx, golden, reviewer, "not_camera")
    assert verified(tx) == (0, 1)
