"""The processes as they are deployed: they stop when asked, and survive what kills their children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress

import psutil
import pytest

from pipeline.records import Lane, UploadState
from pipeline.store import Stores
from tests.factories import add_model, add_upload, make_event
from tests.integration.test_consumer import wait_until
from tests.servers import settings_for
from workers.app import create_app, send_moderation
from workers.lanes import queue_name
from workers.local.processes import free_port
from workers.stream import connect, stream_name, submit

pytestmark = pytest.mark.slow


@pytest.fixture
def silent_s3():
    """A server that takes every connection and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(100)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def environment(fresh_dsn, redis_url, silent_s3):
    return {
        "LENSWATCH_POSTGRES__DSN": fresh_dsn,
        "LENSWATCH_REDIS__URL": redis_url,
        "LENSWATCH_S3__ENDPOINT_URL": silent_s3,
        "LENSWATCH_S3__ACCESS_KEY_ID": "nobody",
        "LENSWATCH_S3__SECRET_ACCESS_KEY": "nothing",
        "LENSWATCH_S3__READ_TIMEOUT": "60",
        "LENSWATCH_WORKER__METRICS_PORT": str(free_port()),
        "LENSWATCH_WEB__PORT": str(free_port()),
    }


@pytest.fixture
def settings(environment):
    return settings_for(**environment)


@pytest.fixture
def stores(settings):
    stores = Stores(settings.postgres)
    yield stores
    stores.close()


@contextmanager
def running(environment, *command):
    process = subprocess.Popen(
        [sys.executable, "-m", "workers", *command],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


def test_a_consumer_takes_over_and_stops_when_asked(environment, settings, stores):
    with running(environment, "consumer") as process, connect(settings.redis) as client:
        submit(client, settings, make_event(), door="test")
        wait_until(lambda: client.xlen(stream_name(settings.redis, Lane.LIVE)) == 0, seconds=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    with stores.transaction() as transaction:
        assert transaction.uploads.backlog()[Lane.LIVE].count == 1


def test_worker_beat_and_web_stop_when_asked(environment, settings):
    with (
        running(environment, "worker", "--lane", "training") as worker,
        running(environment, "beat") as beat,
        running(environment, "web") as web,
        connect(settings.redis) as client,
    ):
        wait_until(worker.children, seconds=60)
        wait_until(lambda: client.llen(queue_name("maintenance")), seconds=60)  # beat's first message
        wait_until(lambda: answers(settings.web.port), seconds=60)
        for process in (worker, beat, web):
            process.send_signal(signal.SIGTERM)
        # uvicorn raises the signal again once it has shut down.
        assert [process.wait(timeout=15) for process in (worker, beat, web)] == [0, 0, -signal.SIGTERM]


def test_an_upload_whose_workers_are_killed_ends_as_a_dead_letter(environment, settings, stores):
    with stores.transaction() as transaction:
        model = add_model(transaction)
        transaction.versions.point("champion", model.id, actor="test", reason="")
        upload = add_upload(transaction)
    with running(environment, "worker", "--lane", "live") as worker:
        send_moderation(create_app(settings), upload)
        for attempt in range(1, settings.worker.max_attempts + 1):
            wait_until(lambda attempt=attempt: is_scoring(stores, upload, attempt), seconds=60)
            [child] = worker.children()
            child.kill()
        wait_until(lambda: letters(stores), seconds=60)
        scraped = scrape(settings.worker.metrics_port)
    [letter] = letters(stores)
    assert (letter.upload_id, letter.reason, letter.stage) == (upload.id, "WorkerLost", "moderate")
    assert 'lenswatch_dead_letters_total{stage="moderate"} 1.0' in scraped


def is_scoring(stores, upload, attempt):
    with stores.transaction() as transaction:
        row = transaction.uploads.get(upload.id)
    return row.state is UploadState.SCORING and row.attempts == attempt


def letters(stores):
    with stores.transaction() as transaction:
        return transaction.dead_letters.waiting()


def answers(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
    except urllib.error.URLError:
        return False
    return True


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()
