"""`lenswatch models` on a real Postgres and a real S3. Publishing needs Triton: `test_triton.py`."""

import json

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from pipeline.errors import NotFound
from pipeline.settings import PostgresSettings
from pipeline.store import Stores
from tests.factories import add_model
from workers.cli.models import app


@pytest.fixture
def run(fresh_dsn, monkeypatch):
    """Runs a command; two versions are there, the older one is the champion."""
    monkeypatch.setenv("LENSWATCH_POSTGRES__DSN", fresh_dsn)
    stores = Stores(PostgresSettings(dsn=SecretStr(fresh_dsn)))
    with stores.transaction() as tx:
        old = add_model(tx, name="old-1", card={"fit_photos": 1025, "calibration_photos": 304})
        new = add_model(tx, name="new-1", encoder_version=7)
        tx.versions.point("champion", old.id, actor="ann", reason="")
        tx.versions.point("challenger", new.id, actor="ann", reason="")
    stores.close()

    def run(*arguments):
        return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout

    return run


def test_the_list_shows_the_aliases(run):
    lines = [line for line in run("list").splitlines() if "-1" in line]
    assert "new-1" in lines[0]
    assert "challenger" in lines[0]
    assert "7" in lines[0]
    assert "champion" in lines[1]
    assert "1025" in lines[1]


def test_promote_and_roll_back(run):
    assert run("promote", "challenger", "--actor", "ann", "--reason", "gate passed").startswith("new-1 is the champion")
    assert "challenger" not in run("list")
    assert run("rollback").startswith("old-1 is the champion again")
    with pytest.raises(NotFound, match="first champion"):
        run("rollback")


def test_the_card_is_json(run):
    assert json.loads(run("card", "champion"))["fit_photos"] == 1025
    assert json.loads(run("card", "new-1")) == {"name": "new-1"}
