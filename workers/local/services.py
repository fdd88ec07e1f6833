"""Lenswatch's own processes on one machine: consumer, a worker per lane, beat, and the HTTP service."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from workers.lanes import LANES
from workers.local.processes import Process, end_leftover

GRACE = 30
"""s; a worker that is asked to stop finishes the image that it has in hand."""


def describe(folder: Path, environment: Mapping[str, str]) -> list[Process]:
    """The processes, not yet started. `environment` holds the `LENSWATCH_*` settings; logs go to `folder/logs`."""
    roles = {
        "consumer": ["consumer"],
        **{f"worker-{lane}": ["worker", "--lane", lane] for lane in LANES},
        "beat": ["beat"],
        "web": ["web"],
    }
    return [
        Process(name, [sys.executable, "-m", "workers", *command], folder, environment=environment, grace=GRACE)
        for name, command in roles.items()
    ]


@contextmanager
def running(folder: Path, environment: Mapping[str, str]) -> Iterator[list[Process]]:
    """All of them, started; asked to stop together at the end."""
    with ExitStack() as stopping:
        processes = describe(folder, environment)
        for process in processes:
            end_leftover(folder, process.name)
            stopping.callback(process.stop)
            process.start()
        yield processes
        for process in processes:  # all at once, then each is waited for
            process.ask_to_stop()
