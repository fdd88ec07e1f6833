"""Every Prometheus metric, and where they can be scraped."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from pipeline.records import Verdict

# From one millisecond (EXIF of a small file) to the task's time limit.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

_LATEST: dict[str, Any] = {"multiprocess_mode": "mostrecent"}
"""Of a gauge that any of several web processes may look up."""

EVENTS_ACCEPTED = Counter(
    "lenswatch_events_accepted_total", "Events put on a stream, by door and key", ["door", "lane", "key"]
)
REQUESTS_REFUSED = Counter("lenswatch_requests_refused_total", "Requests answered with 429 or 503", ["reason"])
LEDGER_ROWS = Counter("lenswatch_ledger_events_total", "Events taken over from a stream", ["lane", "outcome"])
VERDICTS = Counter("lenswatch_verdicts_total", "Verdicts written", ["kind", "surface"])
STAGE_SECONDS = Histogram("lenswatch_stage_seconds", "Time per stage of one image", ["stage"], buckets=_BUCKETS)
TASK_SECONDS = Histogram("lenswatch_task_seconds", "Time per task", ["task"], buckets=_BUCKETS)
RETRIES = Counter("lenswatch_retries_total", "Attempts that failed and will be repeated", ["reason"])
DEAD_LETTERS = Counter("lenswatch_dead_letters_total", "Work given up on", ["stage"])
DELIVERIES = Counter("lenswatch_webhook_deliveries_total", "Tries to deliver a webhook", ["outcome"])
RECONCILED = Gauge(
    "lenswatch_reconciled_keys", "Keys of a bucket, by how the ledger agrees", ["bucket", "finding"], **_LATEST
)
REVIVED_NETWORKS = Counter("lenswatch_revived_networks_total", "Networks loaded anew in Triton", ["network"])
EXPIRED_ROWS = Counter("lenswatch_expired_rows_total", "Rows removed by retention", ["table"])
LANE_DEPTH = Gauge("lenswatch_lane_depth", "Work waiting, by lane and by where it waits", ["lane", "place"], **_LATEST)
LANE_AGE = Gauge("lenswatch_lane_oldest_seconds", "Age of the oldest upload without a verdict", ["lane"], **_LATEST)


def observe_verdict(verdict: Verdict, surface: str | None, timings_ms: Mapping[str, float]) -> None:
    """Count a verdict and its stages. Surfaces nobody configured are None: events must not invent series."""
    VERDICTS.labels(verdict.kind.value, surface or "other").inc()
    for stage, milliseconds in timings_ms.items():
        STAGE_SECONDS.labels(stage).observe(milliseconds / 1000)


def serve(port: int | None, multiprocess_folder: Path | None = None) -> Callable[[], None]:
    """Answer scrapes at `port` (None: not at all); returns what stops it.

    A Celery worker's children write their counts into `multiprocess_folder`, which its main process sums up.
    """
    if port is None:
        return lambda: None
    server, thread = start_http_server(port, registry=_registry(multiprocess_folder))

    def stop() -> None:
        server.shutdown()
        thread.join()

    return stop


def exposition() -> bytes:
    """What one of several web processes answers to a scrape: the counts of all of them."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return generate_latest(_registry(Path(folder) if folder else None))


def _registry(multiprocess_folder: Path | None) -> CollectorRegistry:
    if multiprocess_folder is None:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(multiprocess_folder))  # type: ignore[no-untyped-call]
    return registry
