"""Erasure by command line and by HTTP. What it reaches: `test_erasure.py`."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from pipeline.people import KeyRole
from tests.factories import add_model, add_verdict, make_examination
from tests.servers import settings_for
from workers.bootstrap import Dependencies
from workers.cli import app as cli
from workers.keys import key_setting
from workers.web.app import create_app


@pytest.fixture
def environment(fresh_dsn, redis_url, s3_server):
    return {
        **s3_server.environment(),
        "LENSWATCH_POSTGRES__DSN": fresh_dsn,
        "LENSWATCH_REDIS__URL": redis_url,
        "LENSWATCH_WEB__API_KEYS": json.dumps({"tests": key_setting("key", KeyRole.ADMIN)}),
    }


@pytest.fixture
def settings(environment):
    return settings_for(**environment)


@pytest.fixture
def sha256(settings) -> str:
    """Of the one upload that erin and otto share; each has another, and the champion was fitted on erin's."""
    both, own = make_examination(), make_examination()
    with Dependencies(settings) as deps:
        deps.objects.ensure_bucket(settings.s3.model_bucket)
        with deps.stores.transaction() as tx:
            model = add_model(tx, name="refit-1")
            tx.versions.point("champion", model.id, actor="tests", reason="")
            for who, examination in (("erin", own), ("erin", both), ("otto", both)):
                add_verdict(tx, model, examination=examination, uploader_id=who)
            tx.training.record_members(model.id, {own.sha256: "fit"})
    return both.sha256


@pytest.fixture
def command(environment, monkeypatch, sha256):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments, **options: CliRunner().invoke(cli, ["erase", *arguments], **options)


@pytest.fixture
def web(settings, sha256):
    with TestClient(create_app(settings)) as client:
        client.headers["Authorization"] = "Bearer key"
        yield client


def test_a_dry_run_then_the_erasure(command):
    assert json.loads(command("--uploader", "erin", "--dry-run", "--json").stdout)["counts"]["uploads"] == 2
    done = command("--uploader", "erin", "--yes", "--actor", "ann")
    assert done.exit_code == 0
    assert "1 images stay" in done.stdout
    assert "refit-1 (champion) had used 1 of them: fit." in done.stdout
    assert "Erasure 1: nothing is left" in done.stdout
    assert json.loads(command("--uploader", "erin", "--dry-run", "--json").stdout)["counts"] == {}


def test_nobody_there_to_be_asked(command):
    done = command("--uploader", "erin")
    assert done.exit_code == 2
    assert "say --yes" in done.output
    assert json.loads(command("--uploader", "erin", "--dry-run", "--json").stdout)["counts"]["uploads"] == 2


@pytest.mark.parametrize(("answer", "left"), [("n\n", 2), ("y\n", 0)])
def test_a_terminal_is_asked(command, monkeypatch, answer, left):
    monkeypatch.setattr("workers.cli.erase._is_terminal", lambda: True)
    assert command("--uploader", "erin", input=answer).exit_code == (1 if left else 0)
    assert json.loads(command("--uploader", "erin", "--dry-run", "--json").stdout)["counts"].get("uploads", 0) == left


def test_what_is_left_is_a_failure(command, monkeypatch):
    monkeypatch.setattr("pipeline.store.erasure.Erasure.search", lambda *_: {"notes": 3})
    done = command("--uploader", "erin", "--yes")
    assert done.exit_code == 1
    assert "still found in notes (3)" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("--uploader", "u", "--object", "k"), ("--content", "not a hash")])
def test_what_names_nothing(command, arguments):
    assert command(*arguments, "--yes").exit_code == 2


def test_by_http(web, sha256):
    counted = web.post("/v1/erasures", json={"uploader_id": "erin", "actor": "ann", "dry_run": True}).json()
    assert (counted["counts"]["uploads"], counted["erasure_id"]) == (2, None)
    done = web.post("/v1/erasures", json={"uploader_id": "erin", "actor": "ann"}).json()
    assert (done["counts"], done["shared"], done["complete"]) == (counted["counts"], [sha256], True)
    assert done["models"] == [{"model": "refit-1", "alias": "champion", "side": "fit", "images": 1}]
    assert web.post("/v1/erasures", json={"sha256": sha256, "actor": "ann"}).json()["counts"]["uploads"] == 1


@pytest.mark.parametrize(
    "body",
    [{}, {"uploader_id": "u", "sha256": "ab" * 32}, {"key": "k"}, {"bucket": "b"}, {"sha256": "AB"}],
    ids=["nothing", "two", "no bucket", "no key", "no hash"],
)
def test_a_request_names_one_thing(web, body):
    assert web.post("/v1/erasures", json={"actor": "ann", **body}).status_code == 422


def test_a_key_is_needed(web):
    body = {"uploader_id": "erin", "actor": "ann"}
    assert web.post("/v1/erasures", json=body, headers={"Authorization": "Bearer other"}).status_code == 401
