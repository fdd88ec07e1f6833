"""The Celery app, its lanes, and the base classes of its tasks.

A task message is a hint that carries an id; the ledger in Postgres is the truth. So a lost message costs time, a
repeated one costs a query, and what a task did is in its one transaction or did not happen.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from time import sleep
from typing import Any, cast

import structlog
from celery import Celery, Task, current_app, signals
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from pipeline.errors import NotFound, PipelineError, RetryableError, StoreUnavailable
from pipeline.moderate import ModerationDeps
from pipeline.records import Lane, Upload, UploadState, Verdict
from pipeline.settings import Settings
from pipeline.store import Transaction
from workers import metrics
from workers.bootstrap import Dependencies
from workers.lanes import LANES, queue_name
from workers.schedule import NIGHTLY, SCHEDULE
from workers.stream import StreamUnavailable

log = structlog.get_logger(__name__)

MODERATE = "moderate"
"""Name of the task that every upload gets."""

TRAINING_TIME_LIMIT = 3600
"""s; a retraining reads up to 10 000 embeddings and fits a mixture, a reconciliation lists whole buckets."""

VISIBILITY_TIMEOUT = 2 * TRAINING_TIME_LIMIT
"""s until Redis hands out a vanished worker's message again; longer than any task. The re-sender is quicker."""

POSTGRES_PATIENCE = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""s between tries to write down that an attempt failed: a restart of Postgres takes less."""

CHILD_MEMORY = 1_500_000
"""KiB at which a worker process is replaced; over twice of what a warm one holds."""


class LenswatchApp(Celery):
    """Celery, with the settings and the process's dependencies on it."""

    settings: Settings
    moderates = False
    """Whether this worker scores images, and so needs their servers' clients from the start."""

    @cached_property
    def dependencies(self) -> Dependencies:
        """Of this process. Only tasks ask for it, so it is never built before a fork."""
        return Dependencies(self.settings)


def create_app(settings: Settings) -> LenswatchApp:
    """Our Celery app. Connects to nothing yet."""
    app = LenswatchApp("lenswatch", broker=settings.celery_broker, set_as_current=True)
    app.settings = settings
    app.conf.update(
        include=[
            f"workers.tasks.{name}"
            for name in ("moderation", "monitoring", "retention", "retraining", "delivery", "desk")
        ],
        **_messages(settings),
        **_worker(settings),
        beat_schedule=SCHEDULE,
        beat_scheduler="celery.beat:Scheduler",  # in memory: the other one keeps its table in a pickle
        enable_utc=True,
        timezone="UTC",
    )
    return app


def _messages(settings: Settings) -> dict[str, Any]:
    exchange = Exchange("lenswatch")
    return {
        "task_queues": [Queue(queue_name(lane), exchange, routing_key=queue_name(lane)) for lane in LANES],
        "task_default_queue": queue_name(Lane.LIVE),
        "task_default_exchange": exchange.name,
        "task_default_routing_key": queue_name(Lane.LIVE),
        "task_routes": {job["task"]: {"queue": job["options"]["queue"]} for job in SCHEDULE.values()},
        "task_create_missing_queues": False,  # a mistyped lane must fail, not wait for ever
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_TIMEOUT,
            "unacked_restore_throttle": 1,  # look for lost messages every 10 s, not every 100 s (kombu #2558)
            "health_check_interval": 25,  # notices a half-open connection (celery #10325)
            "socket_timeout": settings.redis.socket_timeout,
            "socket_connect_timeout": settings.redis.socket_timeout,
            # Keys of our own: the shortest visibility timeout of all apps that share them wins (kombu #337).
            "unacked_key": "lenswatch.unacked",
            "unacked_index_key": "lenswatch.unacked_index",
            "unacked_mutex_key": "lenswatch.unacked_mutex",
        },
    }


def _worker(settings: Settings) -> dict[str, Any]:
    return {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_time_limit": settings.worker.task_time_limit,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_max_tasks_per_child": 1000,
        "worker_max_memory_per_child": CHILD_MEMORY,
        "worker_soft_shutdown_timeout": 20.0,  # inside the 30 s that orchestrators grant by default
        "worker_enable_soft_shutdown_on_idle": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,  # the ledger makes finishing them harmless
        "worker_enable_remote_control": False,  # liveness is a canary's age, not an answer to a broadcast
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


def send_moderation(app: Celery, upload: Upload) -> None:
    """Put an upload's task on its lane's queue. Call it after the row's commit.

    Raises:
        StreamUnavailable: Redis did not take it.
    """
    try:
        app.send_task(MODERATE, args=[upload.id], queue=queue_name(upload.event.lane))
    except OperationalError as error:
        raise StreamUnavailable(str(error)) from error


class PipelineTask(Task):  # type: ignore[type-arg]  # generic only in the stubs
    """Base of all tasks: log context, time taken, and the process's dependencies."""

    abstract = True
    Request = "workers.acknowledge:Request"

    @property
    def dependencies(self) -> Dependencies:
        return cast(LenswatchApp, self.app).dependencies

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with structlog.contextvars.bound_contextvars(task=self.name), metrics.TASK_SECONDS.labels(self.name).time():
            try:
                return self._tonight(*args, **kwargs) if self.name in NIGHTLY else super().__call__(*args, **kwargs)
            except RetryableError as error:  # a server is away: expected, and the next message tries again
                log.warning("task_postponed", error=str(error), reason=type(error).__name__)

    def _tonight(self, *args: Any, **kwargs: Any) -> Any:
        """Run a nightly job, unless tonight's run is over or under way. Beat asks every hour: it may have been down."""
        now, stores = datetime.now(UTC), self.dependencies.stores
        due = datetime.combine(now, time(NIGHTLY[self.name]), UTC)
        lease = timedelta(seconds=self.time_limit or self.app.conf.task_time_limit)
        with stores.transaction() as transaction:
            if not transaction.jobs.begin(self.name, due=due if due <= now else due - timedelta(days=1), lease=lease):
                return None
        result = super().__call__(*args, **kwargs)
        with stores.transaction() as transaction:
            transaction.jobs.finish(self.name)
        return result


class UploadTask(PipelineTask):
    """Base of the tasks that end an upload: attempts, the one transaction, retries and dead letters."""

    abstract = True

    def attempt(self, upload_id: int, work: Callable[[Upload, ModerationDeps], Verdict]) -> None:
        """Run `work` in one transaction. Where it fails, the row waits for its next try, or is buried after the last.

        The attempt is committed before `work` looks at any byte: an image that kills its worker is counted too. Where
        a server was away, it is given back: an outage says nothing about the image.
        """
        with structlog.contextvars.bound_contextvars(upload_id=upload_id):
            try:
                upload = self._begin(upload_id)
                if upload is not None:
                    self._work(upload, work)
            except NotFound:
                log.info("upload_gone")  # erased while its message waited, or while it was looked at

    def _work(self, upload: Upload, work: Callable[[Upload, ModerationDeps], Verdict]) -> None:
        try:
            with self.dependencies.stores.transaction() as transaction:
                work(upload, self.dependencies.moderation(transaction))
        except Exception as error:
            self._fail(upload, error)

    def _begin(self, upload_id: int) -> Upload | None:
        """Count the attempt; None where there is nothing left to do."""
        with self.dependencies.stores.transaction() as transaction:
            upload = transaction.uploads.begin_attempt(upload_id)
            if upload.state is not UploadState.SCORING:  # a repeated message
                return None
            if upload.attempts > self.dependencies.settings.worker.max_attempts:  # they took their worker with them
                self._bury(transaction, upload, reason="WorkerLost", detail="no attempt lived to its end")
                return None
        return upload

    def _fail(self, upload: Upload, error: Exception) -> None:
        """Write down how it failed, as soon as Postgres can: if that is what failed, no attempt must be lost by it."""
        name = "attempt_postponed" if isinstance(error, RetryableError) else "attempt_failed"
        unexpected = not isinstance(error, PipelineError)
        log.warning(name, attempt=upload.attempts, reason=type(error).__name__, error=str(error), exc_info=unexpected)
        for pause in POSTGRES_PATIENCE:
            try:
                self._wait_or_bury(upload, error)
            except StoreUnavailable:
                sleep(pause)
            else:
                return
        self._wait_or_bury(upload, error)

    def _wait_or_bury(self, upload: Upload, error: Exception) -> None:
        """A server that is away is waited for very long; what may be the image's own fault gets few tries."""
        reason, settings, now = type(error).__name__, self.dependencies.settings.worker, datetime.now(UTC)
        outage = isinstance(error, RetryableError)
        over = now - upload.queued_at > settings.give_up_after if outage else upload.attempts >= settings.max_attempts
        with self.dependencies.stores.transaction() as transaction:
            if transaction.uploads.hold(upload.id).state is not UploadState.SCORING:
                return  # a repeated message was quicker
            if over:
                self._bury(transaction, upload, reason=reason, detail=str(error))
                return
            wait = transaction.uploads.postpone if outage else transaction.uploads.retry
            not_before = now + self._delay(upload.postponements if outage else upload.attempts - 1)
            wait(upload.id, not_before=not_before, error=f"{reason}: {error}")
        metrics.RETRIES.labels(reason).inc()

    def _delay(self, earlier: int) -> timedelta:
        """Doubled at each try, and spread: uploads that failed together must not come back together."""
        settings = self.dependencies.settings.worker
        doubled: timedelta = settings.retry_delay * 2 ** min(earlier, 20)  # two months from 5 s; more overflows
        return min(doubled, settings.longest_retry_delay) * random.uniform(0.75, 1.25)

    def _bury(self, transaction: Transaction, upload: Upload, *, reason: str, detail: str) -> None:
        transaction.results.bury(upload.id, stage=self.name, reason=reason, detail=detail)
        metrics.DEAD_LETTERS.labels(self.name).inc()
        log.error("upload_buried", reason=reason, attempts=upload.attempts)


@signals.setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Celery configures logging only where nobody listens to this signal."""


@signals.worker_process_init.connect
def _open_dependencies(**_: Any) -> None:
    """After the fork, and before the first image waits for it."""
    if isinstance(current_app, LenswatchApp):
        current_app.dependencies.open(for_moderation=current_app.moderates)


@signals.worker_process_shutdown.connect
def _close_dependencies(**_: Any) -> None:
    if isinstance(current_app, LenswatchApp):
        current_app.dependencies.close()
