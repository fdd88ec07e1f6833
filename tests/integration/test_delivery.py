"""Webhooks from a real outbox to a real HTTP server, at least once."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from pipeline.settings import Settings, WebSettings
from pipeline.store import Stores
from tests.factories import add_model, add_verdict
from tests.servers import settings_for
from workers.app import create_app
from workers.signature import is_valid

SECRET = "shared with them"


@pytest.fixture
def receiver():
    """A server that answers `statuses` in turn, then 200, with `headers`; `seen` are the requests."""
    seen, statuses, headers = [], [], {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((dict(self.headers), body))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Location", self.path)  # of a redirect
            for header in headers.items():
                self.send_header(*header)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(
        url=f"http://127.0.0.1:{server.server_port}/hook", seen=seen, statuses=statuses, headers=headers
    )
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(fresh_dsn, receiver) -> Settings:
    web = WebSettings(webhooks={"main": receiver.url}, webhook_secrets=(SECRET,), webhook_timeout=2)
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


def make_due(stores, age="0"):
    """Let the time of the next try come, of deliveries that are `age` old."""
    with stores._engine.begin() as connection:
        update = text("UPDATE outbox SET not_before = now(), created_at = now() - CAST(:age AS interval)")
        connection.execute(update, {"age": age})


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
    assert is_valid(headers["Lenswatch-Signature"], body, SECRET, now=time.time(), window=60)
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


def test_one_run_empties_the_outbox_however_full_it_is(settings, stores, receiver, monkeypatch):
    monkeypatch.setattr("workers.tasks.delivery.BATCH", 2)
    with stores.transaction() as transaction:
        model = transaction.versions.list_all()[0]
        for number in range(4):
            add_verdict(transaction, model, event_id=f"more-{number}", key=f"{number}.jpg", callback="main")
    deliver(settings, stores)
    assert len(receiver.seen) == 5


def test_a_redirect_is_a_failure_and_not_followed(settings, stores, receiver):
    receiver.statuses.append(307)
    deliver(settings, stores)
    assert len(receiver.seen) == 1
    assert rows(stores)[0].last_error == "HTTP 307"


def test_an_endpoint_that_stays_away_is_given_up_on_after_days_visibly(settings, stores, receiver):
    receiver.statuses += [500, 503]
    deliver(settings, stores)
    make_due(stores, age="2 days 23 hours")
    receiver.statuses += [503]
    deliver(settings, stores)
    assert rows(stores)[0].abandoned_at is None
    make_due(stores, age="3 days")
    for _ in range(2):
        deliver(settings, stores)
    assert len(receiver.seen) == 3
    [row] = rows(stores)
    assert (row.attempts, row.last_error) == (3, "HTTP 503")
    assert row.abandoned_at is not None


def test_a_receiver_that_asks_for_an_hour_gets_it(settings, stores, receiver):
    receiver.statuses.append(429)
    receiver.headers["Retry-After"] = "3600"
    deliver(settings, stores)
    wait = rows(stores)[0].not_before - datetime.now(UTC)
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)


@pytest.mark.parametrize("status", [200, 500], ids=["delivered", "abandoned"])
def test_a_replay_sends_it_again_under_the_same_id(settings, stores, receiver, status):
    receiver.statuses.append(status)
    make_due(stores, age="3 days")
    deliver(settings, stores)
    [row] = rows(stores)
    with stores.transaction() as transaction:
        transaction.outbox.replay(row.delivery_id, actor="ann")
    deliver(settings, stores)
    first, second = (headers["Lenswatch-Delivery"] for headers, _ in receiver.seen)
    assert first == second == str(row.delivery_id)
    [row] = rows(stores)
    assert (row.attempts, row.last_error, row.abandoned_at) == (1, None, None)
    assert row.delivered_at is not None


def test_a_replay_that_fails_is_tried_for_days_again(settings, stores, receiver):
    receiver.statuses += [500, 500]
    make_due(stores, age="3 days")
    deliver(settings, stores)
    with stores.transaction() as transaction:
        assert transaction.outbox.replay_abandoned("other", limit=10, actor="ann") == 0
        assert transaction.outbox.replay_abandoned("main", limit=10, actor="ann") == 1
    deliver(settings, stores)
    assert rows(stores)[0].abandoned_at is None
    with stores._engine.connect() as connection:
        [said] = connection.execute(text("SELECT * FROM audit_log WHERE action = 'webhook.replayed'"))
    assert (said.actor, said.detail["was"]) == ("ann", "abandoned")


def test_nothing_leaves_unsigned(settings, stores, receiver):
    unsigned = settings.web.model_copy(update={"webhook_secrets": ()})
    deliver(settings.model_copy(update={"web": unsigned}), stores)
    assert receiver.seen == []
    assert rows(stores)[0].delivered_at is None
