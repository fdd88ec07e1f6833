"""A reviewer's hour: what people do at the desk all day, done in a browser against the whole of Lenswatch.

The items are images of the surface `samples`, oldest first; each test takes its own.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from itertools import cycle, islice

import httpx
import pytest
from sqlalchemy import text

from pipeline.people import Role
from tests.browser.conftest import COUNT, LEASE
from tests.browser.running import announced, item_of, photographs, wait_until_hashed

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

QUEUE = "/queue?surface=samples"
KEYS = {"c": "camera", "n": "not_camera", "t": "cant_tell", "a": "not_applicable"}
FIFTY = 50


@pytest.fixture(scope="module")
def ask(desk):
    """Rows of a query: what the pages did, as the database has it."""

    def rows(sql, **values):
        with desk.deps.stores._engine.connect() as connection:
            return connection.execute(text(sql), values).all()

    return rows


def start(page, queue=QUEUE):
    """Sit down at the queue, and press Enter."""
    page.goto(queue)
    return press(page, "Enter")


def press(page, key):
    """Press a key that leads to another page; returns the number of the item that is shown there, if any.

    An item that was fetched ahead is shown before the decision is taken: this waits for both.
    """
    page.wait_for_load_state("load")  # with the script that listens for keys
    with page.expect_navigation():
        page.keyboard.press(key)
    page.locator("[aria-busy]").wait_for(state="detached")
    return shown(page)


def wait_for_next(page):
    """Until the item after this one is fetched."""
    page.locator("[data-ahead]").wait_for(state="detached")


def caught(page, waiting):
    """The request that a route put there: it is sent a frame after its key."""
    deadline = time.monotonic() + 10
    while not waiting and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    return waiting.pop()


def shown(page):
    found = re.search(r"/items/(\d+)", page.url)
    return int(found[1]) if found else None


def taken(page, item_id):
    """Open this very item, and take it."""
    page.goto(f"/items/{item_id}")
    assert press(page, "Enter") == item_id
    return page


def test_fifty_decisions_by_keyboard_alone(desk, ask):
    ann = desk.signed_in(Role.REVIEWER, "ann")
    first = start(ann)
    assert ann.get_by_alt_text("The uploaded image", exact=True).evaluate("image => image.naturalWidth") > 0
    seen = [first, *(press(ann, key) for key in islice(cycle(KEYS), FIFTY - 1))]
    press(ann, "c")
    assert len(set(seen)) == FIFTY
    decided = ask("SELECT review_item_id, label, seconds FROM decisions WHERE reviewer = 'ann' ORDER BY id")
    assert [row.review_item_id for row in decided] == seen
    assert [row.label for row in decided] == [*islice(cycle(KEYS.values()), FIFTY - 1), "camera"]
    assert all(0 < row.seconds < 60 for row in decided)


def test_an_item_is_blurred_until_somebody_wants_to_see_it(desk, ask):
    cat = desk.signed_in(Role.REVIEWER, "cat")
    start(cat)
    blurred, view, full = (cat.locator(f"img.{which}") for which in ("blurred", "view", "full"))
    assert blurred.evaluate("image => image.naturalWidth") <= 64
    assert (blurred.is_visible(), view.is_visible(), full.is_visible()) == (True, False, False)
    cat.keyboard.press("z")  # pixel for pixel: nor does that show it
    assert (blurred.is_visible(), view.is_visible(), full.is_visible()) == (True, False, False)
    cat.keyboard.press("b")
    assert (blurred.is_visible(), view.is_visible(), full.is_visible()) == (False, False, True)
    cat.keyboard.press("z")
    assert (blurred.is_visible(), view.is_visible(), full.is_visible()) == (False, True, False)


def test_the_last_decision_is_taken_back(desk, ask):
    bea = desk.signed_in(Role.REVIEWER, "bea")
    wrong = start(bea)
    press(bea, "n")
    assert press(bea, "u") == wrong
    press(bea, "c")
    said = ask(
        "SELECT label, r.decision_id IS NOT NULL AS taken_back FROM decisions d LEFT JOIN retractions r"
        " ON r.decision_id = d.id WHERE reviewer = 'bea' ORDER BY d.id"
    )
    assert said == [("not_camera", True), ("camera", False)]
    assert ask("SELECT state, outcome FROM review_items WHERE id = :id", id=wrong) == [("decided", "camera")]


def test_the_next_item_is_shown_before_the_answer_to_a_decision(desk, ask):
    """A second press meanwhile decides nothing; where no answer comes, the item is there again."""
    tia = desk.signed_in(Role.REVIEWER, "tia")
    first = start(tia)
    wait_for_next(tia)
    waiting = []
    tia.route("**/decision*", lambda route: waiting.append(route))  # noqa: PLW0108 - Playwright takes no built-in
    tia.keyboard.press("c")
    answer = caught(tia, waiting)
    second = shown(tia)
    assert second != first
    assert tia.get_by_role("heading", name=f"Item {second}").is_visible()
    assert tia.get_by_alt_text("The uploaded image", exact=True).evaluate("image => image.naturalWidth") > 0
    tia.keyboard.press("n")
    answer.continue_()
    tia.get_by_text(f"Decided Camera for item {first}").wait_for()
    wait_for_next(tia)
    tia.keyboard.press("n")
    caught(tia, waiting).abort()
    tia.get_by_text("No answer came").wait_for()
    assert shown(tia) == second
    tia.unroute("**/decision*")
    press(tia, "t")
    decided = ask("SELECT review_item_id, label FROM decisions WHERE reviewer = 'tia' ORDER BY id")
    assert decided == [(first, "camera"), (second, "cant_tell")]
    tia.go_back()
    tia.get_by_text("Decided: Can't tell").wait_for()


def test_two_browsers_never_hold_the_same_item(desk, ask):
    pages = [desk.signed_in(Role.REVIEWER, name) for name in ("cem", "dora")]
    decided = Counter()
    held = [start(page) for page in pages]
    for _ in range(4):
        holders = ask("SELECT id, held_by FROM review_items WHERE held_by IN ('cem', 'dora') AND held_until > now()")
        assert len({row.id for row in holders}) == len(holders) == 4  # what each sees, and what is loaded ahead
        assert held[0] != held[1]
        for number, page in enumerate(pages):
            decided[held[number]] += 1
            held[number] = press(page, "c")
    assert set(decided.values()) == {1}


def test_an_item_returns_by_itself(desk, ask):
    """When its lease is over: its clock says so, others may take it, and the first one's word comes too late."""
    emil, fay = (desk.signed_in(Role.REVIEWER, name) for name in ("emil", "fay"))
    item = start(emil)
    assert emil.get_by_text("Yours for 0:").is_visible()
    fay.goto(f"/items/{item}")
    assert fay.get_by_text("Somebody else has it until").is_visible()
    emil.get_by_text("Time is over").wait_for(timeout=1000 * (LEASE + 5))
    taken(fay, item)
    emil.keyboard.press("c")
    emil.get_by_text("somebody else has review item").wait_for()
    press(fay, "n")
    assert ask("SELECT reviewer, label FROM decisions WHERE review_item_id = :id", id=item) == [("fay", "not_camera")]


def test_near_copies_are_decided_together(desk, ask):
    last = list(photographs(COUNT))[-1]
    wait_until_hashed(desk.deps, last)
    item, copy = (item_of(desk.deps, name) for name in (last, f"copy-of-{last}"))
    gus = taken(desk.signed_in(Role.REVIEWER, "gus"), item)
    press(gus, "d")
    assert gus.get_by_role("checkbox").count() >= 1
    assert gus.get_by_alt_text(f"Item {copy}").evaluate("image => image.naturalWidth") > 0  # the preview
    press(gus, "n")
    said = ask("SELECT review_item_id, label FROM decisions WHERE reviewer = 'gus' ORDER BY review_item_id")
    assert said == sorted([(item, "not_camera"), (copy, "not_camera")])


def test_thresholds_are_tried_before_they_are_saved(desk, ask):
    lead = desk.signed_in(Role.LEAD, "hana")
    lead.goto("/thresholds/posts")
    dry_run = lead.get_by_text("would be another")
    before = dry_run.inner_text()
    lead.locator("#not_camera").fill("5")
    lead.locator("#unsure").fill("20")
    lead.get_by_role("heading", name="What 5.0 % / 20.0 % would do").wait_for()
    assert dry_run.inner_text() != before
    assert ask("SELECT 1 FROM surface_policies WHERE actor = 'hana'") == []
    lead.get_by_label("Why").fill("fewer reviews")
    assert lead.locator("#chosen").inner_text() == "5.0 % / 20.0 %"
    lead.get_by_role("button", name="Save").first.click()
    lead.get_by_role("cell", name="fewer reviews").wait_for()
    saved = ask("SELECT surface, not_camera_fpr, unsure_fpr FROM surface_policies WHERE actor = 'hana'")
    assert saved == [("posts", 0.05, 0.2)]


@pytest.fixture(scope="module")
def in_pairs(desk, ask):
    """Three new items that two reviewers have to decide, as a lead has just said of their surface."""
    lead = desk.signed_in(Role.LEAD, "ines")
    lead.goto("/thresholds/samples?not_camera=0.1&unsure=99.9")
    lead.get_by_label("Reviewers who must decide").fill("2")
    lead.get_by_label("Why").fill("two pairs of eyes")
    lead.get_by_role("button", name="Save").first.click()
    lead.get_by_role("cell", name="two pairs of eyes").wait_for()
    images = dict(list(photographs(COUNT + 5).items())[COUNT:])
    announced(desk.deps, {f"late-{name}": content for name, content in images.items()})
    found = ask("SELECT id FROM review_items WHERE surface = 'samples' AND decisions_needed = 2 ORDER BY id")
    assert len(found) >= 3
    return [row.id for row in found[:3]]


def test_the_second_reviewer_does_not_know_the_first(desk, ask, in_pairs):
    jan, kim = (desk.signed_in(Role.REVIEWER, name) for name in ("jan", "kim"))
    item = in_pairs[0]
    press(taken(jan, item), "c")
    assert ask("SELECT state FROM review_items WHERE id = :id", id=item) == [("open",)]
    jan.goto(f"/items/{item}")
    jan.get_by_text("Decided: Camera").wait_for()
    assert not jan.get_by_role("button", name="Take it").is_visible()
    taken(kim, item)
    assert "jan" not in kim.content()
    press(kim, "c")
    assert ask("SELECT state, outcome FROM review_items WHERE id = :id", id=item) == [("decided", "camera")]


def test_a_lead_ends_a_disagreement(desk, ask, in_pairs):
    item = in_pairs[1]
    lars, mia = (desk.signed_in(Role.REVIEWER, name) for name in ("lars", "mia"))
    press(taken(lars, item), "c")
    press(taken(mia, item), "n")
    assert ask("SELECT state FROM review_items WHERE id = :id", id=item) == [("disputed",)]
    lead = desk.signed_in(Role.LEAD, "nora")
    lead.goto(f"/disputes?after={item - 1}")
    assert lead.get_by_text("lars: camera · mia: not_camera").is_visible()
    lead.get_by_role("link", name=str(item), exact=True).click()
    lead.get_by_text("It is, finally").wait_for()
    press(lead, "n")
    assert ask("SELECT state, outcome FROM review_items WHERE id = :id", id=item) == [("decided", "not_camera")]


def test_an_appeal_goes_to_somebody_else(desk, ask, in_pairs):
    item = in_pairs[2]
    olga, paul, rosa, sven = (desk.signed_in(Role.REVIEWER, name) for name in ("olga", "paul", "rosa", "sven"))
    press(taken(olga, item), "n")
    press(taken(paul, item), "n")
    [(upload,)] = ask("SELECT upload_id FROM review_items WHERE id = :id", id=item)
    headers = {"Authorization": f"Bearer {desk.api_key}"}
    asked = {"upload_id": upload, "statement": "I took this picture myself."}
    answer = httpx.post(f"{desk.url}/v1/appeals", json=asked, headers=headers)
    assert answer.status_code == 201, answer.text
    appeals = "/queue?purpose=appeal&surface=samples"
    assert start(olga, appeals) is None
    assert start(paul, appeals) is None
    for page in (rosa, sven):  # this surface asks for two
        assert start(page, appeals)
        assert page.get_by_text("I took this picture myself.").is_visible()
        press(page, "c")
    appeal = httpx.get(f"{desk.url}/v1/appeals/{answer.json()['id']}", headers=headers).json()
    assert (appeal["state"], appeal["outcome"]) == ("decided", "camera")
