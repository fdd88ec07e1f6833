"""Appeals: opened by a platform, heard by somebody who has not judged the image, told back."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient

from pipeline.errors import Conflict
from pipeline.people import KeyRole, Role
from pipeline.records import Label, Purpose, VerdictKind
from pipeline.review.decisions import Statement, end_dispute
from pipeline.review.items import Order, Which
from pipeline.review.queue import claim_next
from pipeline.settings import ReviewSettings
from pipeline.store import Stores
from tests.desk import signed_in
from tests.factories import add_model, add_upload, add_verdict, make_examination
from tests.reviewing import SETTINGS, say, waiting
from tests.servers import settings_for
from workers.keys import key_setting
from workers.web.app import create_app

APPEALS = Which(purpose=Purpose.APPEAL)
SAID = {"statement": " I took it on my balcony. ", "appellant": "user-7"}


@pytest.fixture
def settings(fresh_dsn):
    keys = json.dumps({"platform": key_setting("key", KeyRole.SENDER)})
    return settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn, LENSWATCH_WEB__API_KEYS=keys)


@pytest.fixture
def stores(settings):
    stores = Stores(settings.postgres)
    yield stores
    stores.close()


@pytest.fixture
def web(settings):
    with TestClient(create_app(settings)) as client:
        client.headers["Authorization"] = "Bearer key"
        yield client


@pytest.fixture
def upload(stores):
    """With a verdict of `not_camera` that nobody reviewed."""
    with stores.transaction() as tx:
        upload = add_upload(tx, event_id="e-1", callback="main", surface="avatars")
        add_verdict(tx, add_model(tx), VerdictKind.NOT_CAMERA, upload=upload, examination=make_examination(score=None))
    return upload


def claim(stores, reviewer, which=APPEALS):
    with stores.transaction() as tx:
        turn = claim_next(tx, reviewer, which, Order.OLDEST, ReviewSettings(golden_share=0))
    return turn.item.id if turn else None


def test_an_appeal_has_a_queue_of_its_own_and_its_outcome_is_told(web, stores, upload):
    opened = web.post("/v1/appeals", json={"event_id": "e-1", **SAID})
    assert opened.status_code == 201
    appeal = opened.json()
    assert (appeal["upload_id"], appeal["state"], appeal["outcome"]) == (upload.id, "open", None)
    assert claim(stores, "ann", Which()) is None
    item = claim(stores, "ann")
    ann = signed_in(web, stores, Role.REVIEWER, "ann")
    assert "I took it on my balcony." in ann.get(f"/items/{item}").text
    assert ann.post(f"/items/{item}/decision", data={"label": "camera"}).status_code == 303
    answer = web.get(f"/v1/appeals/{appeal['id']}").json()
    assert (answer["state"], answer["outcome"]) == ("decided", "camera")
    assert answer["decided_at"] is not None
    assert web.get("/v1/verdicts/e-1").json()["review"]["outcome"] == "camera"


def test_one_appeal_for_each_verdict(web, upload):
    assert web.post("/v1/appeals", json={"upload_id": upload.id, **SAID}).status_code == 201
    again = web.post("/v1/appeals", json={"event_id": "e-1", **SAID})
    assert (again.status_code, again.json()["type"]) == (409, "urn:lenswatch:problem:conflict")


def test_who_judged_the_image_before_never_hears_its_appeal(web, stores, upload):
    with stores.transaction() as tx:
        model = add_model(tx)
        doubtful = add_upload(tx, event_id="e-2")
        examination = make_examination(score=None)
        add_verdict(tx, model, VerdictKind.UNSURE, upload=doubtful, examination=examination)
        say(tx, waiting(tx)[0].id, "ann", "not_camera")
        copy = add_upload(tx, event_id="e-3")
        add_verdict(tx, model, VerdictKind.NOT_CAMERA, upload=copy, examination=examination)
    for event_id in ("e-2", "e-3"):
        web.post("/v1/appeals", json={"event_id": event_id, **SAID})
    assert claim(stores, "ann") is None
    item = claim(stores, "bob")
    with stores.transaction() as tx:
        [other] = [each.id for each in waiting(tx, purpose=Purpose.APPEAL) if each.id != item]
        tx.queue.release("bob", keep=[])
        with pytest.raises(Conflict, match="decided this image"):
            say(tx, other, "ann")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"event_id": "never", **SAID}, 404),
        ({"upload_id": 999, **SAID}, 404),
        (SAID, 422),
        ({"event_id": "e-1", "upload_id": 1, **SAID}, 422),
        ({"event_id": "e-1", "statement": "  "}, 422),
        ({"event_id": "e-1", "statement": "x" * 4001}, 422),
    ],
)
def test_what_cannot_be_appealed(web, upload, body, status):
    assert web.post("/v1/appeals", json=body).status_code == status


def test_an_upload_without_a_verdict_cannot_be_appealed(web, stores):
    with stores.transaction() as tx:
        upload = add_upload(tx)
    assert web.post("/v1/appeals", json={"upload_id": upload.id, **SAID}).status_code == 409
    assert web.get("/v1/appeals/999").status_code == 404


def test_a_lead_who_judged_the_image_ends_no_dispute_about_its_appeal(stores):
    with stores.transaction() as tx:
        upload = add_upload(tx)
        add_verdict(tx, add_model(tx), VerdictKind.UNSURE, upload=upload, examination=make_examination(score=None))
        say(tx, waiting(tx)[0].id, "lea", "not_camera")
        asked = {"statement": "It is mine.", "appellant": None, "submitted_by": "platform"}
        item = tx.appeals.open(upload.id, **asked, decisions_needed=2).item_id
        say(tx, item, "ann", "camera")
        say(tx, item, "bob", "not_camera")
        with pytest.raises(Conflict, match="another lead decides"):
            end_dispute(tx, item, "lea", Statement(Label.NOT_CAMERA), SETTINGS)
        end_dispute(tx, item, "kim", Statement(Label.CAMERA), SETTINGS)
