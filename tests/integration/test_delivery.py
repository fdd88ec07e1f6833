"""Webhooks from a real outbox to a real HTTP server, at least once."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from pipeline.settings import Settings, WebSettings
from pipeline.store import Stores
from tests.factories import add_model, add_verdict
from tests.servers import settings_for
from workers.app import create_app
from workers.tasks.delivery import sign


@pytest.fixture
def receiver():
    """A server that answers `statuses` in turn, then 200; `seen` are the requests."""
    seen, statuses = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((dict(self.headers), body))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Location", self.path)  # of a redirect
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}/hook", seen=seen, statuses=statuses)
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(fresh_dsn, receiver) -> Settings:
    web = WebSettings(webhooks={"main": receiver.url}, webhook_secret=SecretStr("key"), webhook_timeout=2)
    return settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn).model_copy(update={"web": web})


@pytest.fixture
def stores(settings):
    stores = Stores(settings.postgres)
    with stores.transaction() as transaction:
        add_verdict(transaction, add_model(transaction), event_id="e1", callback="main")
    yield stores
    stores.close()


def deliver(settings, stores):
    app = create_app(settings)
    app.loader.import_default_modules()
    app.dependencies = SimpleNamespace(settings=settings, stores=stores)
    app.tasks["deliver_outbox"]()


def make_due(stores):
    with stores._engine.begin() as connection:
        connection.execute(text("UPDATE outbox SET not_before = now()"))


def rows(stores):
    with stores._engine.connect() as connection:
        return list(connection.execute(text("SELECT * FROM outbox ORDER BY id")))


def test_a_verdict_arrives_once_signed(settings, stores, receiver):
    deliver(settings, stores)
    deliver(settings, stores)
    [(headers, body)] = receiver.seen
    payload = json.loads(body)
    assert (payload["event_id"], payload["verdict"]) == ("e1", "camera")
    assert payload["notice"] == "A signal, never proof."
    timestamp = int(headers["Lenswatch-Signature"].partition(",")[0].removeprefix("t="))
    assert headers["Lenswatch-Signature"] == sign(body, "key", timestamp)
    assert rows(stores)[0].delivered_at is not None


def test_a_failure_is_tried_again_later_under_the_same_id(settings, stores, receiver):
    receiver.statuses.append(500)
    deliver(settings, stores)
    deliver(settings, stores)  # not due yet
    assert len(receiver.seen) == 1
    assert rows(stores)[0].last_error == "HTTP 500"
    make_due(stores)
    deliver(settings, stores)
    first, second = (headers["Lenswatch-Delivery"] for headers, _ in receiver.seen)
    assert first == second
    assert rows(stores)[0].delivered_at is not None


def test_a_redirect_is_a_failure_and_not_followed(settings, stores, receiver):
    receiver.statuses.append(307)
    deliver(settings, stores)
    assert len(receiver.seen) == 1
    assert rows(stores)[0].last_error == "HTTP 307"


def test_an_endpoint_that_stays_away_is_given_up_on_visibly(settings, stores, receiver, monkeypatch):
    monkeypatch.setattr("workers.tasks.delivery.MAX_ATTEMPTS", 2)
    receiver.statuses += [500, 503]
    for _ in range(3):
        make_due(stores)
        deliver(settings, stores)
    assert len(receiver.seen) == 2
    [row] = rows(stores)
    assert (row.attempts, row.last_error) == (2, "HTTP 503")
    assert row.abandoned_at is not None


def test_nothing_leaves_unsigned(settings, stores, receiver):
    unsigned = settings.web.model_copy(update={"webhook_secret": None})
    deliver(settings.model_copy(update={"web": unsigned}), stores)
    assert receiver.seen == []
    assert rows(stores)[0].delivered_at is None
