"""What people do, by HTTP and by command line: review what is unsure, replay or drop what was given up on."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from pipeline.errors import Conflict, NotFound
from pipeline.people import KeyRole
from pipeline.records import UploadState, VerdictKind
from pipeline.store import Stores
from tests.factories import add_model, add_upload, add_verdict
from tests.reviewing import waiting
from tests.servers import settings_for
from workers.cli import app as cli
from workers.keys import key_setting
from workers.lanes import queue_name
from workers.stream import connect
from workers.web.app import create_app

KEY = {"Authorization": "Bearer key"}


@pytest.fixture
def environment(fresh_dsn, redis_url):
    return {
        "LENSWATCH_POSTGRES__DSN": fresh_dsn,
        "LENSWATCH_REDIS__URL": redis_url,
        "LENSWATCH_WEB__API_KEYS": json.dumps({"tests": key_setting("key", KeyRole.ADMIN)}),
    }


@pytest.fixture
def settings(environment):
    return settings_for(**environment)


@pytest.fixture
def stores(settings):
    stores = Stores(settings.postgres)
    yield stores
    stores.close()


@pytest.fixture
def web(settings):
    with TestClient(create_app(settings)) as client:
        client.headers.update(KEY)
        yield client


@pytest.fixture
def command(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(cli, list(arguments))


@pytest.fixture
def item(stores):
    """An open review item."""
    with stores.transaction() as transaction:
        model = add_model(transaction)
        add_verdict(transaction, model, VerdictKind.CAMERA)
        add_verdict(transaction, model, VerdictKind.UNSURE, surface="avatars", key="doubtful.jpg")
        return waiting(transaction)[0]


@pytest.fixture
def letter(stores):
    """A dead letter of an upload."""
    with stores.transaction() as transaction:
        upload = add_upload(transaction)
        transaction.uploads.begin_attempt(upload.id)
        transaction.results.bury(upload.id, stage="moderate", reason="DetectorUnavailable", detail="was away")
        return transaction.dead_letters.waiting()[0]


def test_only_the_unsure_wait_for_review_with_their_evidence(web, item):
    [listed] = web.get("/v1/review").json()
    assert (listed["id"], listed["verdict"]["key"], listed["verdict"]["verdict"]) == (item.id, "doubtful.jpg", "unsure")
    assert listed["verdict"]["percentile"] is not None
    assert listed["verdict"]["notice"] == "A signal, never proof."
    assert web.get("/v1/review", params={"surface": "posts"}).json() == []


def test_a_platform_with_its_own_desk_claims_decides_takes_back_and_skips(web, item):
    claimed = web.post("/v1/review/claim", json={"surface": "avatars"}).json()
    assert (claimed["id"], claimed["purpose"]) == (item.id, "unsure")
    assert claimed["held_until"] is not None
    path = f"/v1/review/{item.id}"
    assert web.post("/v1/review/claim", json={"surface": "posts"}).status_code == 204
    decided = web.post(f"{path}/decision", json={"label": "camera", "reason": "header_fits", "note": "sensor dust"})
    assert decided.status_code == 201
    assert web.get("/v1/review").json() == []
    again = web.post(f"{path}/decision", json={"label": "not_camera"})
    assert (again.status_code, again.json()["type"]) == (409, "urn:lenswatch:problem:conflict")
    assert web.post("/v1/review/undo", json=decided.json()).json()["state"] == "open"
    assert web.post("/v1/review/undo", json=decided.json()).status_code == 409
    assert web.post(f"{path}/skip", json={"reason": "needs_expert"}).status_code == 204
    assert web.post("/v1/review/claim", json={}).status_code == 204, "skipped for good"


def test_what_people_decided_stands_beside_the_verdict(web, item):
    asked = f"/v1/uploads/{item.upload_id}"
    assert web.get(asked).json()["review"] is None
    web.post(f"/v1/review/{item.id}/decision", json={"label": "not_camera"})
    review = web.get(asked).json()["review"]
    assert review["outcome"] == "not_camera"
    assert review["decided_at"] is not None


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/review/999/decision", {"label": "camera"}, 404),
        ("/v1/review/1/decision", {"label": "unsure"}, 422),
        ("/v1/review/1/decision", {"label": "camera", "reviewer": "ann"}, 422),
        ("/v1/dead-letters/999/replay", {"actor": "ann"}, 404),
        ("/v1/dead-letters/999/drop", {"actor": "ann"}, 404),
    ],
)
def test_what_cannot_be_done_is_a_problem(web, item, path, body, status):
    answer = web.post(path, json=body)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/v1/review", "/v1/dead-letters", "/v1/verdicts/x", "/v1/uploads/1"])
def test_nobody_reads_without_a_key(web, path):
    assert web.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_unknown_events_and_uploads_are_404(web):
    assert web.get("/v1/verdicts/nothing").status_code == 404
    assert web.get("/v1/uploads/999").status_code == 404


def test_a_replayed_letter_is_queued_and_sent(web, stores, settings, letter):
    [listed] = web.get("/v1/dead-letters").json()
    assert (listed["id"], listed["reason"], listed["attempts"]) == (letter.id, "DetectorUnavailable", 1)
    answer = web.post(f"/v1/dead-letters/{letter.id}/replay", json={"actor": "ann"})
    assert (answer.status_code, answer.json()["upload_id"]) == (202, letter.upload_id)
    assert tasks_waiting(settings) == [letter.upload_id]
    with stores.transaction() as transaction:
        upload = transaction.uploads.get(letter.upload_id)
    assert (upload.state, upload.attempts) == (UploadState.QUEUED, 0)
    assert web.post(f"/v1/dead-letters/{letter.id}/replay", json={"actor": "bob"}).status_code == 409


def test_a_dropped_letter_is_gone_from_the_list_and_stays_dead(web, stores, letter):
    assert web.post(f"/v1/dead-letters/{letter.id}/drop", json={"actor": "ann"}).status_code == 204
    assert web.get("/v1/dead-letters").json() == []
    with stores.transaction() as transaction:
        assert transaction.uploads.get(letter.upload_id).state is UploadState.DEAD
        assert transaction.dead_letters.get(letter.id).resolution == "dropped"


def test_reviewing_in_a_terminal(command, item, stores):
    assert "doubtful.jpg" in command("review", "list").output
    done = command("review", "decide", str(item.id), "not_camera", "--reviewer", "ann")
    assert done.exit_code == 0
    assert "doubtful.jpg" not in command("review", "list").output
    again = command("review", "decide", str(item.id), "camera", "--reviewer", "ann")
    assert isinstance(again.exception, Conflict)


def test_golden_items_in_a_terminal(command, item):
    added = command("review", "golden", "add", str(item.upload_id), "not_camera")
    assert added.exit_code == 0
    golden = added.output.split()[1].rstrip(":")
    assert "not_camera" in command("review", "golden", "list").output
    assert f" {golden} " not in command("review", "list").output
    assert command("review", "golden", "remove", golden).exit_code == 0
    assert isinstance(command("review", "golden", "remove", golden).exception, NotFound)


def test_dead_letters_in_a_terminal(command, letter, settings):
    assert "DetectorUnavailable" in command("dead", "list").output
    assert json.loads(command("dead", "show", str(letter.id)).output)["detail"] == "was away"
    assert command("dead", "replay", str(letter.id), "--actor", "ann").exit_code == 0
    assert tasks_waiting(settings) == [letter.upload_id]
    assert isinstance(command("dead", "drop", str(letter.id)).exception, Conflict)


def tasks_waiting(settings):
    """Upload ids in the live queue."""
    with connect(settings.redis) as client:
        messages = [json.loads(message) for message in client.lrange(queue_name("live"), 0, -1)]
    return [int(message["headers"]["argsrepr"].strip("[]")) for message in messages]


@pytest.fixture
def abandoned(stores):
    """A webhook that was given up on; its delivery id."""
    with stores.transaction() as tx:
        add_verdict(tx, add_model(tx), callback="main", event_id="e-1")
        [delivery] = tx.outbox.claim(limit=1, lease=timedelta(minutes=1))
        tx.outbox.abandon(delivery.id, error="HTTP 503")
    return str(delivery.delivery_id)


def test_a_webhook_is_replayed_by_http(stores, web, abandoned):
    [listed] = web.get("/v1/webhooks").json()
    assert (listed["delivery_id"], listed["state"], listed["last_error"]) == (abandoned, "abandoned", "HTTP 503")
    assert listed == web.get(f"/v1/webhooks/{abandoned}").json()
    replayed = web.post(f"/v1/webhooks/{abandoned}/replay", json={"actor": "ann"})
    assert (replayed.status_code, replayed.json()["state"], replayed.json()["attempts"]) == (202, "waiting", 0)
    with stores.transaction() as tx:
        [again] = tx.outbox.claim(limit=10, lease=timedelta(minutes=1))
    assert str(again.delivery_id) == abandoned


def test_all_of_an_endpoint_are_replayed_by_http(web, abandoned):
    assert web.post("/v1/webhooks/replay?callback=other", json={"actor": "ann"}).json() == {"count": 0}
    assert web.post("/v1/webhooks/replay?callback=main", json={"actor": "ann"}).json() == {"count": 1}
    assert web.post("/v1/webhooks/replay?callback=main", json={"actor": "ann"}).json() == {"count": 0}
    assert [one["delivery_id"] for one in web.get("/v1/webhooks?state=waiting").json()] == [abandoned]


def test_webhooks_that_are_not_there(web, command):
    nobody = "00000000-0000-0000-0000-000000000000"
    assert web.get(f"/v1/webhooks/{nobody}").status_code == 404
    assert web.post(f"/v1/webhooks/{nobody}/replay", json={"actor": "ann"}).status_code == 404
    assert isinstance(command("webhooks", "show", nobody).exception, NotFound)


def test_a_webhook_is_replayed_by_command(command, abandoned):
    assert abandoned in command("webhooks", "list").output
    assert json.loads(command("webhooks", "show", abandoned).output)["last_error"] == "HTTP 503"
    assert command("webhooks", "replay").exit_code == 2
    assert "1 will be sent again" in command("webhooks", "replay", abandoned).output
    assert abandoned not in command("webhooks", "list").output
    assert abandoned in command("webhooks", "list", "--state", "waiting").output
    assert "0 will be sent again" in command("webhooks", "replay", "--callback", "main").output


def test_a_key_is_printed_once_with_the_setting_that_lets_it_in(command):
    printed = command("keys", "new", "ingest").output
    key, setting = printed.splitlines()[1].strip(), printed.splitlines()[3].strip()
    assert setting == f"""LENSWATCH_WEB__API_KEYS='{{"ingest": "{key_setting(key, KeyRole.SENDER)}"}}'"""
    secret = command("keys", "new", "cdn", "--signing").output.splitlines()
    assert secret[3].strip() == f"""LENSWATCH_WEB__DOOR_SECRETS='{{"cdn": "{secret[1].strip()}"}}'"""
    assert command("keys", "new", "No Name").exit_code == 2
