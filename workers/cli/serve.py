"""`lenswatch consumer | worker | beat | web`: the processes of a deployment. Each runs until SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.records import Lane
from pipeline.settings import Settings
from workers import logs
from workers.lanes import LANES, MAINTENANCE, TRAINING, queue_name

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, on any Linux

WorkerLane = StrEnum("WorkerLane", [(lane.upper(), lane) for lane in LANES])  # type: ignore[misc]


def consumer() -> None:
    """Carry events from the streams into the ledger, and send their tasks."""
    from workers import metrics
    from workers.bootstrap import Dependencies
    from workers.consumer import Consumer

    settings = Settings()
    logs.configure(settings, "consumer")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop_metrics = metrics.serve(settings.worker.metrics_port)
    with Dependencies(settings) as deps:
        Consumer(deps.redis, deps.stores, deps.send_moderation, settings).run(stop)
    stop_metrics()


def worker(
    lane: Annotated[list[WorkerLane], typer.Option(help="Which queue to work on; may be repeated.")],
    concurrency: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Work on the tasks of one lane, or of several."""
    settings = Settings()
    lanes = [one.value for one in lane]
    logs.configure(settings, "worker-" + "-".join(lanes))
    # In memory: its files are mapped, and a mapped file on a full disk is a SIGBUS.
    memory = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="lenswatch-metrics-", dir=memory) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # before prometheus_client is imported, which reads it once
        from workers import metrics
        from workers.app import create_app

        if Lane.LIVE not in lanes:
            settings = settings.model_copy(update={"triton": settings.triton.model_copy(update={"priority": 2})})
        app = create_app(settings)
        app.moderates = not {MAINTENANCE, TRAINING}.issuperset(lanes)
        stop_metrics = metrics.serve(settings.worker.metrics_port, Path(folder))
        queues = ",".join(queue_name(one) for one in lanes)
        no_chatter = ["--without-gossip", "--without-mingle", "--without-heartbeat"]  # workers need not know each other
        try:
            app.worker_main(["--quiet", "worker", f"--queues={queues}", f"--concurrency={concurrency}", *no_chatter])
        finally:
            stop_metrics()


def beat() -> None:
    """Start the jobs of `workers/schedule.py` when they are due. Run exactly one."""
    from workers.app import create_app

    settings = Settings()
    logs.configure(settings, "beat")
    create_app(settings).Beat(quiet=True).run()


def web() -> None:
    """Serve the HTTP doors, the review API and the pages."""
    import uvicorn

    settings = Settings()
    logs.configure(settings, "web")
    # In memory: its files are mapped, and a mapped file on a full disk is a SIGBUS.
    memory = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="lenswatch-metrics-", dir=memory) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # a scrape reaches one process and must answer for all
        uvicorn.run(
            "workers.web.app:process_app",
            factory=True,
            workers=settings.web.workers,
            host=settings.web.host,
            port=settings.web.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=20,
        )
