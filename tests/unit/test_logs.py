"""Secrets never reach a log line; everything else does."""

import io
import json
import logging

import pytest
import structlog
from pydantic import SecretStr

from pipeline.settings import Settings
from workers import logs


@pytest.fixture
def lines(monkeypatch):
    """Log lines written so far, parsed; logging is put back afterwards."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    root = logging.getLogger()
    before = root.handlers, root.level
    logs.configure(Settings(_env_file=None), "test")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers, root.level = before
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_events_have_fields_and_what_is_bound(lines):
    with structlog.contextvars.bound_contextvars(upload_id=7):
        structlog.get_logger("here").info("verdict", kind="camera")
    [line] = lines()
    assert line["event"] == "verdict"
    assert (line["kind"], line["upload_id"], line["process"], line["level"]) == ("camera", 7, "test", "info")


def test_libraries_come_out_in_the_same_form(lines):
    logging.getLogger("celery").warning("lost %s", "it")
    assert lines()[0]["event"] == "lost it"


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "hunter2"},
        {"Authorization": "Bearer hunter2"},
        {"web": {"webhook_secret": "hunter2"}},
        {"dsn": "anything with hunter2"},
        {"url": "redis://:hunter2@localhost:6379/0"},
        {"tried": ["postgresql+psycopg://me:hunter2@db/x"]},
        {"value": SecretStr("hunter2")},
    ],
    ids=str,
)
def test_secrets_are_hidden(lines, fields):
    structlog.get_logger("here").warning("something", **fields)
    assert lines()
    assert "hunter2" not in json.dumps(lines())


def test_secrets_in_tracebacks_are_hidden(lines):
    try:
        raise ConnectionError("cannot reach redis://:hunter2@localhost")
    except ConnectionError:
        structlog.get_logger("here").exception("failed")
    [line] = lines()
    assert "ConnectionError" in line["exception"]
    assert "hunter2" not in line["exception"]
