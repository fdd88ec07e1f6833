"""The Celery configuration keeps the promises of its docstring. No broker is asked."""

import pytest
from celery.app.defaults import NAMESPACES, flatten
from celery.schedules import crontab
from kombu.transport.redis import Channel

from pipeline.records import Lane
from pipeline.settings import Settings, WorkerSettings
from workers.app import MODERATE, VISIBILITY_TIMEOUT, UploadTask, create_app
from workers.lanes import LANES, queue_name
from workers.schedule import SCHEDULE


@pytest.fixture(scope="module")
def app():
    app = create_app(Settings(_env_file=None, worker=WorkerSettings(task_time_limit=77)))
    app.loader.import_default_modules()
    return app


def test_every_option_exists_in_this_celery(app):
    known = {name for name, _ in flatten(NAMESPACES)} | {"deprecated_settings"}  # Celery's own note
    assert set(app.conf.changes) <= known


def test_every_transport_option_exists_in_this_kombu(app):
    assert set(app.conf.broker_transport_options) <= set(Channel.from_transport_options)


def test_a_message_outlives_every_task(app):
    limits = [task.time_limit or app.conf.task_time_limit for task in app.tasks.values()]
    assert max(limits) < VISIBILITY_TIMEOUT == app.conf.broker_transport_options["visibility_timeout"]
    assert app.conf.task_time_limit == 77


def test_a_lost_worker_loses_no_message(app):
    conf = app.conf
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (True, True)
    assert (conf.worker_prefetch_multiplier, conf.worker_disable_prefetch) == (1, True)


def test_nothing_but_json_is_read_or_written(app):
    assert (app.conf.accept_content, app.conf.task_serializer) == (["json"], "json")
    assert app.conf.beat_scheduler == "celery.beat:Scheduler"


def test_lanes_are_queues_and_a_mistyped_one_fails(app):
    assert {queue.name for queue in app.conf.task_queues} == {queue_name(lane) for lane in LANES}
    assert {lane.value for lane in Lane} < set(LANES)
    assert app.conf.task_create_missing_queues is False


def test_the_upload_task_owns_attempts(app):
    assert isinstance(app.tasks[MODERATE], UploadTask)


@pytest.mark.parametrize("entry", SCHEDULE.values(), ids=SCHEDULE)
def test_every_job_of_the_table_is_a_task_on_a_lane(app, entry):
    assert entry["task"] in app.tasks
    assert entry["options"]["queue"] in {queue_name(lane) for lane in LANES}
    if not isinstance(entry["schedule"], crontab):  # its message is void when the next one comes
        assert entry["options"]["expires"] <= entry["schedule"].run_every.total_seconds()
