"""Items are given out under leases, to one reviewer at a time, as she asked for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from pipeline.errors import Conflict, NotFound
from pipeline.records import ExifFacts, ItemState, Label, Lane, Purpose, VerdictKind
from pipeline.review.decisions import Statement, decide
from pipeline.review.items import Order, SkipReason, Which
from pipeline.review.queue import claim_next, skip, take
from pipeline.settings import PostgresSettings, ReviewSettings
from pipeline.store import Stores
from pipeline.store.queue import Cursor
from tests.factories import add_model, add_upload, add_verdict, make_event, make_examination, make_score
from tests.reviewing import SETTINGS, say, waiting

NO_GOLDEN = ReviewSettings(golden_share=0)
ANY = Which()


@pytest.fixture
def tx(stores):
    with stores.transaction() as transaction:
        yield transaction


@pytest.fixture
def model(tx):
    return add_model(tx)


def add_items(tx, model, count=1, kind=VerdictKind.UNSURE, **more) -> list[int]:
    """Ids of new open items, in order."""
    before = {item.id for item in waiting(tx)}
    for _ in range(count):
        add_verdict(tx, model, kind, sampled=kind is not VerdictKind.UNSURE, **more)
    return [item.id for item in waiting(tx) if item.id not in before]


def claim(tx, reviewer="ann", which=ANY, order=Order.OLDEST, settings=NO_GOLDEN):
    turn = claim_next(tx, reviewer, which, order, settings)
    return None if turn is None else turn.item.id


def end_leases(database):
    database.execute(text("UPDATE review_items SET held_until = now() - interval '1 s'"))


def test_a_reviewer_is_shown_one_item_and_holds_the_next_and_asking_again_changes_nothing(tx, model):
    items = add_items(tx, model, 3)
    for _ in range(2):
        turn = claim_next(tx, "ann", ANY, Order.OLDEST, NO_GOLDEN)
        assert [turn.item.id, turn.ahead.id] == items[:2]
        assert turn.item.held_since is not None
        assert turn.ahead.held_since is None, "nobody looks at it yet"
    assert claim(tx, "bob") == items[2]
    assert claim(tx, "eve") is None


def test_after_a_decision_the_item_that_was_loaded_ahead_is_shown(tx, model):
    items = add_items(tx, model, 3)
    claim(tx)
    decide(tx, items[0], "ann", Statement(Label.CAMERA), SETTINGS)
    turn = claim_next(tx, "ann", ANY, Order.OLDEST, NO_GOLDEN)
    assert [turn.item.id, turn.ahead.id] == items[1:]
    assert turn.item.held_since is not None


def test_a_lease_that_is_over_returns_the_item_by_itself(tx, model, database):
    items = add_items(tx, model, 2)
    assert claim(tx, "ann") == items[0]
    assert claim(tx, "bob") is None
    end_leases(database)
    assert claim(tx, "bob") == items[0]
    with pytest.raises(Conflict, match="somebody else has"):
        decide(tx, items[0], "ann", Statement(Label.CAMERA), SETTINGS)
    end_leases(database)
    with pytest.raises(Conflict, match="your time"):
        decide(tx, items[0], "ann", Statement(Label.CAMERA), SETTINGS)


def test_who_was_slow_may_still_decide_while_nobody_else_took_it(tx, model, database):
    [item] = add_items(tx, model)
    claim(tx)
    end_leases(database)
    decide(tx, item, "ann", Statement(Label.CAMERA), SETTINGS)
    assert tx.queue.get(item).state is ItemState.DECIDED


def test_many_browsers_never_hold_the_same_item(fresh_dsn):
    """Eight reviewers and two tabs of each claim and decide at once, until nothing is left."""
    stores = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn), pool_size=16))
    with stores.transaction() as tx:
        add_items(tx, add_model(tx), 60)

    def work(reviewer):
        seen = []
        while True:
            with stores.transaction() as tx:
                turn = claim_next(tx, reviewer, ANY, Order.OLDEST, NO_GOLDEN)
            if turn is None:
                return seen
            with stores.transaction() as tx:
                try:
                    decide(tx, turn.item.id, reviewer, Statement(Label.CAMERA), SETTINGS)
                except Conflict:  # the other tab was quicker
                    continue
            seen.append(turn.item.id)

    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(work, [f"reviewer {number % 8}" for number in range(16)], timeout=60))
    stores.close()
    decided = [item for each in done for item in each]
    assert len(decided) == len(set(decided)) == 60


def test_nobody_is_given_what_she_decided_or_skipped(tx, model):
    first, second, third = add_items(tx, model, 3, decisions_needed=2)
    say(tx, first, "ann")
    claim(tx, "ann")
    skip(tx, second, "ann", SkipReason.KNOWS_UPLOADER)
    assert claim(tx, "ann") == third
    with pytest.raises(Conflict, match="decided this image"):
        take(tx, first, "ann", NO_GOLDEN)
    assert claim(tx, "bob") == first
    with pytest.raises(Conflict, match="somebody else"):
        take(tx, first, "eve", NO_GOLDEN)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (Which(surface="avatars"), [1]),
        (Which(lane=Lane.BACKFILL), [2]),
        (Which(kind=VerdictKind.NOT_CAMERA), [3]),
        (Which(purpose=Purpose.SAMPLE), [3]),
        (Which(purpose=Purpose.UNSURE, format="PNG"), [4]),
        (Which(camera_make="Canon"), [5]),
        (Which(min_age=timedelta(days=2)), [0]),
        (Which(purpose=Purpose.APPEAL), []),
        (Which(surface="avatars", lane=Lane.BACKFILL), []),
    ],
)
def test_filters(tx, model, database, which, expected):
    unlike = [
        {},
        {"surface": "avatars"},
        {"lane": Lane.BACKFILL},
        {"kind": VerdictKind.NOT_CAMERA},
        {"examination": make_examination(format="PNG")},
        {"examination": make_examination(exif=ExifFacts({"Make": "Canon"}, "exiftool"))},
    ]
    items = [add_items(tx, model, **more)[0] for more in unlike]
    old = text("UPDATE review_items SET created_at = now() - interval '3 days' WHERE id = :id")
    database.execute(old, {"id": items[0]})
    wanted = [items[number] for number in expected]
    assert [each.item.id for each in tx.queue.page(which)] == wanted
    assert claim(tx, which=which) == (wanted[0] if wanted else None)


def test_another_model_versions_items_are_another_filters(tx, model):
    add_items(tx, model)
    other = add_model(tx)
    items = add_items(tx, other)
    assert claim(tx, which=Which(model_version_id=other.id)) == items[0]


def test_the_riskiest_come_first_where_that_is_asked_for_and_pages_follow_each_other(tx, model):
    risks = [0.09, 0.03, 0.09, 0.05, 0.021]
    items = [add_items(tx, model, examination=make_examination(score=make_score(p_value=p)))[0] for p in risks]
    by_risk = [items[number] for number in (4, 1, 3, 0, 2)]
    assert claim(tx, order=Order.RISKIEST) == by_risk[0]
    for order, expected in ((Order.RISKIEST, by_risk), (Order.OLDEST, items)):
        seen, after = [], None
        while page := tx.queue.page(ANY, order, after=after, limit=2):
            seen += [each.item.id for each in page]
            after = Cursor(page[-1].item.id, page[-1].item.p_value)
        assert seen == expected


def test_what_is_held_outside_of_the_filter_goes_back(tx, model):
    [post] = add_items(tx, model, surface="posts")
    [avatar] = add_items(tx, model, surface="avatars")
    assert claim(tx, "ann", Which(surface="posts")) == post
    assert claim(tx, "ann", Which(surface="avatars")) == avatar
    assert tx.queue.get(post).held_by is None


@pytest.fixture
def golden(tx, model):
    """A golden item, whose answer is `not_camera`."""
    upload = add_upload(tx)
    add_verdict(tx, model, VerdictKind.UNSURE, upload=upload)
    [item] = waiting(tx)
    say(tx, item.id, "lead", "not_camera")
    return tx.golden.add(upload.id, Label.NOT_CAMERA, actor="lead")


def test_a_golden_item_comes_once_to_each_reviewer_among_others_and_is_never_closed(tx, model, golden):
    items = add_items(tx, model, 3)
    always = ReviewSettings(golden_share=1)
    for reviewer, ordinary in (("ann", items[0]), ("bob", items[2])):
        turn = claim_next(tx, reviewer, ANY, Order.OLDEST, always)
        assert (turn.item.id, turn.item.shown_purpose) == (golden, Purpose.UNSURE)
        decide(tx, golden, reviewer, Statement(Label.CAMERA), SETTINGS)
        assert tx.queue.get(golden).state is ItemState.OPEN
        assert claim(tx, reviewer, settings=always) == ordinary
    assert [(each.answers, each.right) for each in tx.golden.list_all()] == [(2, 0)]


def test_a_golden_item_passes_for_what_was_asked_for_or_is_not_shown(tx, model, golden):
    always = ReviewSettings(golden_share=1)
    [avatar] = add_items(tx, model, surface="avatars")
    assert claim(tx, "ann", Which(surface="avatars"), settings=always) == avatar
    assert claim(tx, "bob", Which(purpose=Purpose.SAMPLE), settings=always) is None
    say(tx, avatar, "ann")
    assert claim(tx, "eve", settings=always) is None, "alone it would be known for what it is"
    assert waiting(tx) == []
    assert tx.queue.backlog() == {}


def test_who_decided_the_image_before_is_not_measured_by_it(tx, model, golden):
    add_items(tx, model)
    assert claim(tx, "lead", settings=ReviewSettings(golden_share=1)) != golden


def test_golden_items_are_added_once_and_taken_out_and_audited(tx, golden, database):
    upload_id = tx.queue.get(golden).upload_id
    with pytest.raises(Conflict):
        tx.golden.add(upload_id, Label.CAMERA, actor="lead")
    tx.golden.remove(golden, actor="lead")
    with pytest.raises(NotFound):
        tx.golden.remove(golden, actor="lead")
    assert tx.golden.list_all() == []
    actions = database.scalars(text("SELECT action FROM audit_log WHERE action LIKE 'golden.%' ORDER BY id"))
    assert list(actions) == ["golden.added", "golden.removed"]


def test_a_sample_of_sure_verdicts_waits_and_goes_with_its_verdict_but_golden_ones_and_appeals_stay(tx, model, golden):
    upload, examination = add_upload(tx), make_examination()
    add_verdict(tx, model, VerdictKind.CAMERA, upload=upload, examination=examination, sampled=True)
    [item] = waiting(tx)
    assert (item.purpose, item.kind) == (Purpose.SAMPLE, VerdictKind.CAMERA)
    claim(tx)
    kept = tx.golden.add(upload.id, Label.CAMERA, actor="lead")
    opened = tx.appeals.open(upload.id, statement="", appellant=None, submitted_by="key", decisions_needed=1)
    add_verdict(tx, add_model(tx), VerdictKind.CAMERA, upload=upload, examination=examination)
    ended = tx.queue.get(item.id)
    assert (ended.state, ended.held_by) == (ItemState.WITHDRAWN, None)
    assert {tx.queue.get(each).state for each in (kept, opened.item_id)} == {ItemState.OPEN}
    with pytest.raises(Conflict, match="newer model"):
        decide(tx, item.id, "ann", Statement(Label.CAMERA), SETTINGS)


def test_the_backlog_is_counted_by_surface_up_to_a_bound(tx, model, monkeypatch):
    add_items(tx, model, 2, surface="posts")
    [avatar] = add_items(tx, model, surface="avatars")
    assert tx.queue.backlog() == {"avatars": 1, "posts": 2}
    assert tx.queue.backlog(Purpose.APPEAL) == {}
    say(tx, avatar)
    assert tx.queue.backlog() == {"posts": 2}
    monkeypatch.setattr("pipeline.store.queue.MOST", 1)
    assert tx.queue.backlog() == {"posts": 1}


def test_two_appeals_about_one_image_are_never_heard_by_the_same_reviewer(tx, model, database):
    for _ in range(2):
        upload = add_upload(tx)
        add_verdict(tx, model, VerdictKind.NOT_CAMERA, upload=upload, examination=make_examination(sha256="ab" * 32))
        tx.appeals.open(upload.id, statement="", appellant=None, submitted_by="key", decisions_needed=1)
    appeals = Which(purpose=Purpose.APPEAL)
    turn = claim_next(tx, "ann", appeals, Order.OLDEST, NO_GOLDEN)
    decide(tx, turn.item.id, "ann", Statement(Label.CAMERA), SETTINGS)
    with pytest.raises(Conflict, match="decided this image"):  # she holds it still
        decide(tx, turn.ahead.id, "ann", Statement(Label.CAMERA), SETTINGS)
    assert claim(tx, "ann", appeals) is None
    assert claim(tx, "bob", appeals) == turn.ahead.id


def test_a_golden_item_whose_object_is_gone_is_shown_to_nobody(tx, model, golden):
    add_items(tx, model)
    key = tx.uploads.get(tx.queue.get(golden).upload_id).event.key
    tx.uploads.delete(make_event(kind="deleted", key=key))
    assert claim(tx, settings=ReviewSettings(golden_share=1)) != golden


def test_an_unknown_item_is_not_found(tx):
    with pytest.raises(NotFound):
        say(tx, 0)


def test_nobody_reviews_what_was_deleted(tx, model):
    event = make_event()
    upload, _ = tx.uploads.record(event)
    add_verdict(tx, model, VerdictKind.UNSURE, upload=upload)
    [item] = waiting(tx)
    tx.uploads.delete(make_event(kind="deleted", key=event.key, uploaded_at=event.uploaded_at + timedelta(hours=1)))
    assert claim(tx) is None
    assert tx.queue.get(item.id).state is ItemState.WITHDRAWN
    back, _ = tx.uploads.record(event.model_copy(update={"uploaded_at": event.uploaded_at + timedelta(hours=2)}))
    other = make_examination(format="PNG", score=make_score(p_value=0.02))
    add_verdict(tx, model, VerdictKind.UNSURE, upload=back, examination=other)
    again = tx.queue.get(item.id)
    assert (again.state, again.sha256, again.format, again.p_value) == (ItemState.OPEN, other.sha256, "PNG", 0.02)
