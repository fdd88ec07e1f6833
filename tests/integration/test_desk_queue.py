"""The queue as reviewers' browsers get it: claim, decide, the next one, undo, skip, copies, disputes."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from pipeline.people import Role
from pipeline.records import ItemState, Label, VerdictKind
from pipeline.review.items import Which
from pipeline.store import Stores
from tests.desk import signed_in
from tests.factories import add_model, add_upload, add_verdict, make_examination
from tests.reviewing import say, waiting
from tests.servers import settings_for
from workers.web.app import create_app

ORDINARY = {"LENSWATCH_REVIEW__GOLDEN_SHARE": "0"}


@pytest.fixture
def environment():
    return ORDINARY


@pytest.fixture
def settings(fresh_dsn, environment):
    return settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn, **environment)


@pytest.fixture
def stores(settings):
    stores = Stores(settings.postgres)
    yield stores
    stores.close()


@pytest.fixture
def web(settings):
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def model(stores):
    with stores.transaction() as tx:
        return add_model(tx)


@pytest.fixture
def ann(web, stores):
    return signed_in(web, stores, Role.REVIEWER, "ann")


@pytest.fixture
def bob(web, stores):
    return signed_in(web, stores, Role.REVIEWER, "bob")


def add_items(stores, model, count=1, **more) -> list[int]:
    with stores.transaction() as tx:
        for _ in range(count):
            examination = more.get("examination") or make_examination(score=None)
            add_verdict(tx, model, VerdictKind.UNSURE, **{**more, "examination": examination})
        return [item.id for item in waiting(tx)][-count:]


def state(stores, item):
    with stores.transaction() as tx:
        return tx.queue.get(item)


def item_in(answer) -> int:
    """Where a browser is led."""
    assert answer.status_code == 303, answer.text
    return int(re.fullmatch(r"/items/(\d+)", urlsplit(answer.headers["location"]).path)[1])


def decide(browser, item, label="camera", query="", **more):
    return browser.post(f"/items/{item}/decision{query}", data={"label": label, **more})


def test_a_reviewer_claims_and_decides_and_the_next_item_is_there(stores, model, ann):
    first, second, third = add_items(stores, model, 3, surface="avatars")
    add_items(stores, model, surface="posts")
    query = "?surface=avatars&order=riskiest"
    listed = ann.get(f"/queue{query}")
    assert all(f"/items/{item}?surface=avatars&amp;order=riskiest" in listed.text for item in (first, second, third))
    assert item_in(ann.post(f"/queue/start{query}")) == first
    page = ann.get(f"/items/{first}{query}")
    assert "Yours until" in page.text
    assert "a signal, not proof" in page.text
    assert f'data-ahead="/items/{second}?surface=avatars&amp;order=riskiest"' in page.text
    answer = decide(ann, first, query=query, reason="header_fits", note="odd")
    assert item_in(answer) == second
    assert parse_qs(urlsplit(answer.headers["location"]).query) == {"surface": ["avatars"], "order": ["riskiest"]}
    assert "Decided <strong>Camera</strong>" in ann.get(answer.headers["location"]).text
    assert state(stores, third).held_by == "ann"


def test_the_queue_ends_where_nothing_fits_any_more(stores, model, ann):
    [item] = add_items(stores, model, surface="avatars")
    add_items(stores, model, surface="posts")
    ann.post("/queue/start?surface=avatars")
    assert decide(ann, item, query="?surface=avatars").headers["location"] == "/queue?surface=avatars"


def test_a_decision_without_the_lease_is_refused(stores, model, ann, bob):
    [item] = add_items(stores, model)
    assert "Take it" in ann.get(f"/items/{item}").text
    assert item_in(bob.post("/queue/start")) == item
    assert "Somebody else has it" in ann.get(f"/items/{item}").text
    refused = decide(ann, item)
    assert (refused.status_code, "somebody else has" in refused.text) == (409, True)
    assert state(stores, item).state is ItemState.OPEN


def test_an_item_can_be_taken_by_its_address(stores, model, ann):
    first, second = add_items(stores, model, 2)
    ann.post("/queue/start")
    assert item_in(ann.post(f"/items/{second}/take")) == second
    assert (state(stores, first).held_by, state(stores, second).held_by) == (None, "ann")


def test_undo_brings_the_item_back_once(stores, model, ann):
    first, second = add_items(stores, model, 2)
    ann.post("/queue/start")
    page = ann.get(decide(ann, first, "not_camera").headers["location"]).text
    decision = re.search(r'name="decision_id" value="(\d+)"', page)[1]
    assert item_in(ann.post("/undo", data={"decision_id": decision})) == first
    assert (state(stores, first).state, state(stores, first).held_by) == (ItemState.OPEN, "ann")
    assert ann.post("/undo", data={"decision_id": decision}).status_code == 409
    assert item_in(decide(ann, first, "camera")) == second


def test_a_skipped_item_is_left_to_others(stores, model, ann, bob):
    first, second = add_items(stores, model, 2)
    ann.post("/queue/start")
    assert item_in(ann.post(f"/items/{first}/skip", data={"reason": "knows_uploader"})) == second
    assert item_in(bob.post("/queue/start")) == first


def test_a_second_reviewer_is_told_nothing_of_the_first_and_a_lead_ends_their_dispute(stores, model, web, ann, bob):
    [item] = add_items(stores, model, decisions_needed=2)
    ann.post("/queue/start")
    decide(ann, item, "camera", note="sensor dust")
    bob.post("/queue/start")
    page = bob.get(f"/items/{item}").text
    assert "Yours until" in page
    assert "sensor dust" not in page
    assert "ann" not in re.sub(r"<header.*?</header>", "", page, flags=re.DOTALL).split()
    decide(bob, item, "not_camera")
    assert state(stores, item).state is ItemState.DISPUTED
    lead = signed_in(web, stores, Role.LEAD, "lea")
    assert ann.get("/disputes").status_code == 403
    assert "sensor dust" in lead.get("/disputes").text
    assert "It is, finally" in lead.get(f"/items/{item}").text
    assert "It is, finally" not in ann.get(f"/items/{item}").text
    assert lead.post(f"/items/{item}/end", data={"label": "not_camera"}).status_code == 303
    assert state(stores, item).outcome is Label.NOT_CAMERA
    page = lead.get("/disputes").text
    assert "Nobody disagrees" in page
    decision = re.search(r'name="decision_id" value="(\d+)"', page)[1]
    assert item_in(lead.post("/undo", data={"decision_id": decision})) == item
    assert state(stores, item).state is ItemState.DISPUTED


def test_who_can_still_decide_anew_is_not_told_whether_others_agree(stores, model, ann, bob):
    [item] = add_items(stores, model, decisions_needed=2)
    upload = state(stores, item).upload_id
    ann.post("/queue/start")
    decide(ann, item, "camera", note="sensor dust")
    bob.post("/queue/start")
    decide(bob, item, "not_camera", note="six fingers")
    assert state(stores, item).state is ItemState.DISPUTED
    page = bob.get(f"/items/{item}").text
    assert "Decided: <strong>Not camera</strong>" in page
    assert "six fingers" in page
    assert "sensor dust" not in page + bob.get(f"/uploads/{upload}").text
    decision = re.search(r'name="decision_id" value="(\d+)"', page)[1]
    bob.post("/undo", data={"decision_id": decision})
    decide(bob, item, "camera")
    assert "sensor dust" not in bob.get(f"/items/{item}").text + bob.get(f"/uploads/{upload}").text
    add_items(stores, model)
    bob.post("/queue/start")
    decide(bob, item_in(bob.post("/queue/start")))  # her word on the item is final now
    assert "sensor dust" in bob.get(f"/items/{item}").text


def test_near_copies_are_shown_and_decided_together_but_not_what_somebody_else_has(stores, model, ann, bob):
    same = make_examination(score=None)
    items = add_items(stores, model, 4, examination=same)
    bob.post(f"/items/{items[3]}/take")
    assert item_in(ann.post("/queue/start")) == items[0]
    preview = ann.get(f"/items/{items[0]}/copies").text
    offered = {int(number) for number in re.findall(r'name="chosen" value="(\d+)"', preview)}
    assert offered == set(items[1:3])
    answer = ann.post(f"/items/{items[0]}/copies", data={"label": "not_camera", "chosen": [items[1], items[3]]})
    assert answer.headers["location"] == f"/items/{items[2]}", "not ticked, so it is the next one"
    outcomes = [state(stores, item).outcome for item in items]
    assert outcomes == [Label.NOT_CAMERA, Label.NOT_CAMERA, None, None]


@pytest.mark.parametrize("environment", [{"LENSWATCH_REVIEW__GOLDEN_SHARE": "1"}])
def test_a_golden_item_looks_like_any_other(stores, model, ann):
    with stores.transaction() as tx:
        upload = add_upload(tx)
        add_verdict(tx, model, VerdictKind.UNSURE, upload=upload, examination=make_examination(score=None))
        say(tx, waiting(tx)[0].id, "lea", "not_camera", note="known fake")
        golden = tx.golden.add(upload.id, Label.NOT_CAMERA, actor="lea")
    [ordinary] = add_items(stores, model)
    assert item_in(ann.post("/queue/start")) == golden
    page = ann.get(f"/items/{golden}").text
    for telling in ("golden", "known fake", "Not camera</strong>"):
        assert telling not in page.lower()
    assert "waits for review" not in ann.get(f"/uploads/{state(stores, ordinary).upload_id}").text
    assert "Nothing waits that fits" in ann.get("/queue").text, "she holds both, and a golden one is never listed"
    assert item_in(decide(ann, golden)) == ordinary
    assert "Decided: <strong>Camera</strong>" in ann.get(f"/items/{golden}").text
    ann.post(f"/items/{ordinary}/skip")
    listed = ann.get("/queue").text.split("<table>")[1]
    assert f"/items/{ordinary}?" in listed
    assert f"/items/{golden}?" not in listed


def test_pages_of_the_queue_follow_each_other(stores, model, ann):
    items = add_items(stores, model, 60)
    first = ann.get("/queue?order=oldest").text
    following = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")
    second = ann.get(following).text
    seen = [
        int(number) for page in (first, second) for number in re.findall(r'scope="row"><a href="/items/(\d+)', page)
    ]
    assert seen == items
    assert 'rel="next"' not in second


def test_an_expired_lease_is_said_and_others_may_take_the_item(stores, model, ann, bob, fresh_dsn):
    [item] = add_items(stores, model)
    ann.post("/queue/start")
    with create_engine(fresh_dsn).begin() as connection:
        connection.execute(text("UPDATE review_items SET held_until = now() - interval '1 s'"))
    assert "Time is over" in ann.get(f"/items/{item}").text
    assert item_in(bob.post("/queue/start")) == item
    assert decide(ann, item).status_code == 409
    with stores.transaction() as tx:
        assert tx.queue.held("bob", Which())[0].id == item


def test_a_viewer_reviews_nothing_and_a_form_without_its_token_does_nothing(stores, model, web, ann):
    add_items(stores, model)
    viewer = signed_in(web, stores, Role.VIEWER)
    assert viewer.get("/queue").status_code == 403
    assert viewer.post("/queue/start").status_code == 403
    del ann.headers["X-CSRF-Token"]
    assert ann.post("/queue/start").status_code == 403


@pytest.mark.parametrize(
    "path", ["/items/99999999999999999999", "/queue?surface=%00", "/queue?after=99999999999999999999"]
)
def test_a_value_that_no_row_has_is_the_askers_fault(ann, path):
    assert ann.get(path).status_code == 422
