"""Five ways in, one verdict: by a real Redis, Postgres, S3 and Celery worker; the networks run in this process."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace

import pytest
from celery.contrib.testing.worker import start_worker
from fastapi.testclient import TestClient
from sqlalchemy import select
from structlog.testing import capture_logs
from typer.testing import CliRunner

from pipeline.adapters.exiftool import ExifToolReader
from pipeline.adapters.local import LocalDetector
from pipeline.examine import Examiner
from pipeline.people import KeyRole, Role
from pipeline.records import Lane
from pipeline.release import Release
from pipeline.settings import DEFAULT_RELEASE
from pipeline.store.models_ops import DriftSnapshotRow
from tests.desk import signed_in
from tests.images import exif, jpeg, photo
from tests.integration.test_consumer import drain, wait_until
from tests.servers import settings_for
from workers.app import create_app as create_celery
from workers.bootstrap import Dependencies
from workers.cli import app as cli
from workers.consumer import Consumer
from workers.keys import key_setting
from workers.lanes import queue_name
from workers.schedule import SCHEDULE
from workers.stream import stream_name
from workers.web.app import create_app as create_web

KEY = {"Authorization": "Bearer key-of-the-tests"}
OBJECT = {"bucket": "uploads", "key": "from a door.jpg"}


class AlreadyServed:
    """Stands where Triton's repository would: the networks run in this process, as version 1."""

    def install(self, release):
        return 1, 1


@pytest.fixture(scope="module")
def detector():
    return LocalDetector(DEFAULT_RELEASE)


@pytest.fixture
def environment(fresh_dsn, redis_url, s3_server):
    return {
        **s3_server.environment(),
        "LENSWATCH_POSTGRES__DSN": fresh_dsn,
        "LENSWATCH_REDIS__URL": redis_url,
        "LENSWATCH_WEB__API_KEYS": json.dumps({"tests": key_setting("key-of-the-tests", KeyRole.ADMIN)}),
        "LENSWATCH_WORKER__CONSUMER_BLOCK": "0.05",
    }


@pytest.fixture
def deps(environment, detector):
    settings = settings_for(**environment)
    with Dependencies(settings) as deps, ExifToolReader(timeout=5) as reader:
        deps.examiner = Examiner(reader, detector, settings.limits)
        deps.objects.ensure_bucket("uploads")
        deps.registry.publish(Release.open(DEFAULT_RELEASE), AlreadyServed(), actor="test", alias="champion")
        yield deps


@pytest.fixture
def stored(deps):
    """An image in the bucket, as S3 would announce it."""
    content = jpeg(photo(256, 320), exif=exif(make="Canon", model="EOS 5D"))
    return OBJECT | {"etag": deps.objects.put(**OBJECT, content=content)}


@pytest.fixture
def web(deps):
    with TestClient(create_web(deps.settings)) as client:
        yield client


@pytest.fixture
def command(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments):
        result = CliRunner().invoke(cli, list(arguments))
        assert result.exit_code == 0, result.output
        return result

    return run


def by_xadd(deps, stored, **_):
    event = {"event_id": "x", "uploaded_at": "2026-01-01T00:00:00Z", **stored}
    deps.redis.xadd(stream_name(deps.settings.redis, Lane.LIVE), {"event": json.dumps(event)})


def by_http(stored, web, **_):
    event = {"event_id": "h", "uploaded_at": "2026-01-01T00:00:00Z", **stored}
    assert web.post("/v1/uploads", json=event, headers=KEY).status_code == 202


def by_records(stored, web, sequencer="0A", **_):
    stored_object = {"key": "from+a%20door.jpg", "eTag": stored["etag"], "sequencer": sequencer}
    record = {
        "eventName": "ObjectCreated:Put",
        "eventTime": "2026-01-01T00:00:00.000Z",
        "s3": {"bucket": {"name": "uploads"}, "object": stored_object},
    }
    assert web.post("/v1/hooks/s3", json={"Records": [record]}, headers=KEY).status_code == 202


def by_event_bridge(stored, web, **_):
    detail = {"bucket": {"name": "uploads"}, "object": {"key": stored["key"], "etag": stored["etag"]}}
    event = {"source": "aws.s3", "detail-type": "Object Created", "time": "2026-01-01T00:00:00Z", "detail": detail}
    assert web.post("/v1/hooks/s3", json=event, headers=KEY).status_code == 202


def by_submit(stored, command, **_):
    command("submit", "--key", stored["key"], "--etag", stored["etag"])


def by_backfill(command, **_):
    assert "1 announced" in command("backfill", "s3://uploads/from").output


DOORS = [by_xadd, by_http, by_records, by_event_bridge, by_submit, by_backfill]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_an_event_said_three_times_at_a_door_gets_one_verdict(door, deps, stored, web, command):
    for _ in range(3):
        door(deps=deps, stored=stored, web=web, command=command)
    work(deps)
    [verdict] = verdicts(deps)
    assert (verdict.key, verdict.camera_make, verdict.camera_model) == (stored["key"], "Canon", "EOS 5D")
    assert verdict.verdict in {"camera", "unsure", "not_camera"}
    assert verdict.log_likelihood is not None


def test_the_same_object_at_every_door_gets_one_verdict(deps, stored, web, command):
    for door in DOORS:
        door(deps=deps, stored=stored, web=web, command=command)
    work(deps)
    [verdict] = verdicts(deps)
    answer = web.get(f"/v1/verdicts/{verdict.event_id}", headers=KEY).json()
    assert answer["upload"]["state"] == "done"
    assert answer["upload"]["attempts"] == 1
    assert answer["verdict"]["verdict"] == verdict.verdict
    assert answer == web.get(f"/v1/uploads/{verdict.upload_id}", headers=KEY).json()
    for event_id in ("x", "h"):  # whatever an event was called, it finds its answer
        assert answer == web.get(f"/v1/verdicts/{event_id}", headers=KEY).json()
    page = signed_in(web, deps.stores, Role.VIEWER).get("/")
    assert verdict.key in page.text
    assert "not proof" in page.text


def test_a_deletion_takes_the_answer_away_and_a_new_object_brings_one(deps, stored, web):
    by_records(stored, web)
    work(deps)
    path = f"/v1/objects/{stored['bucket']}/{stored['key']}"
    first = web.get(path, headers=KEY).json()
    assert first["verdict"]["verdict"] == verdicts(deps)[0].verdict
    record_deletion(web, sequencer="0B")
    drain_all(deps, create_celery(deps.settings))
    answer = web.get(path, headers=KEY)
    assert answer.status_code == 404
    assert "was deleted at 2026-01-02T00:00:00Z" in answer.json()["detail"]
    assert web.get(f"/v1/uploads/{first['upload']['id']}", headers=KEY).json()["upload"]["deleted_at"]
    by_records(stored, web, sequencer="0C")  # put again
    work(deps)
    again = web.get(path, headers=KEY).json()
    assert (again["upload"]["id"], again["upload"]["state"]) == (first["upload"]["id"], "done")
    assert again["verdict"]["verdict"] == first["verdict"]["verdict"]


def test_a_deletion_that_comes_first_closes_the_upload_at_birth(deps, stored, web):
    record_deletion(web, sequencer="0B")
    by_records(stored, web, sequencer="0A")
    work(deps)
    [verdict] = verdicts(deps)
    assert (verdict.verdict, verdict.reason) == ("rejected", "object_missing")  # though the bucket still has it
    assert web.get(f"/v1/objects/{stored['bucket']}/{stored['key']}", headers=KEY).status_code == 404


def record_deletion(web, sequencer):
    record = {
        "eventName": "ObjectRemoved:Delete",
        "eventTime": "2026-01-02T00:00:00.000Z",
        "s3": {"bucket": {"name": "uploads"}, "object": {"key": "from+a%20door.jpg", "sequencer": sequencer}},
    }
    assert web.post("/v1/hooks/s3", json={"Records": [record]}, headers=KEY).status_code == 202


def test_a_file_is_put_into_the_bucket_and_announced(deps, command, tmp_path):
    (tmp_path / "mine.jpg").write_bytes(jpeg(photo(256, 320, seed=3)))
    for _ in range(2):
        command("submit", str(tmp_path / "mine.jpg"), "--surface", "avatars")
    work(deps)
    [verdict] = verdicts(deps)
    assert verdict.key.endswith("/mine.jpg")
    assert verdict.surface == "avatars"


def test_a_missing_object_is_rejected_and_not_tried_again(deps, web):
    event = {"event_id": "gone", "uploaded_at": "2026-01-01T00:00:00Z", "bucket": "uploads", "key": "not there.jpg"}
    web.post("/v1/uploads", json=event, headers=KEY)
    work(deps)
    answer = web.get("/v1/verdicts/gone", headers=KEY).json()
    assert (answer["verdict"]["verdict"], answer["verdict"]["reason"]) == ("rejected", "object_missing")
    assert answer["upload"]["attempts"] == 1


def test_hourly_and_nightly_jobs_run(deps, web, stored):
    by_http(stored, web)
    work(deps)
    celery = create_celery(deps.settings)
    celery.loader.import_default_modules()
    celery.dependencies = deps
    judged_at = verdicts(deps)[0].decided_at
    deps.clock = SimpleNamespace(now=lambda: judged_at + timedelta(hours=1))
    with capture_logs() as lines:
        for job in SCHEDULE.values():
            celery.tasks[job["task"]]()
    [report] = [line for line in lines if line["event"] == "retrain_finished"]
    assert report["outcome"] == "not_enough"
    with deps.stores._engine.connect() as connection:
        snapshots = connection.execute(select(DriftSnapshotRow.surface, DriftSnapshotRow.count)).all()
    assert snapshots == [("default", 1)]


def test_readiness_and_metrics_see_the_servers(deps, web):
    assert web.get("/readyz").json() == {"ready": True, "servers": {"redis": True, "postgres": True}}
    by_http({**OBJECT, "etag": "e"}, web)
    scraped = web.get("/metrics").text
    assert 'lenswatch_lane_depth{lane="live",place="stream"} 1.0' in scraped
    assert 'lenswatch_lane_depth{lane="maintenance",place="queue"} 0.0' in scraped


def work(deps):
    """Let the consumer and a worker do what there is to do."""
    celery = create_celery(deps.settings)
    celery.dependencies = deps
    drain_all(deps, celery)
    lanes = [queue_name(lane) for lane in Lane]
    with start_worker(celery, pool="solo", queues=lanes, perform_ping_check=False, shutdown_timeout=30):
        wait_until(lambda: not backlog(deps), seconds=60)


def drain_all(deps, celery):
    from workers.app import send_moderation

    consumer = Consumer(deps.redis, deps.stores, lambda upload: send_moderation(celery, upload), deps.settings)
    consumer.create_groups()
    drain(consumer)


def backlog(deps):
    with deps.stores.transaction() as transaction:
        return transaction.uploads.backlog()


def verdicts(deps):
    with deps.stores.transaction() as transaction:
        return transaction.verdicts.latest()
