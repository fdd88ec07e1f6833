"""Lenswatch's own processes on one machine: consumer, a worker per lane, beat, and the HTTP service."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from workers.lanes import LANES
from workers.local.processes import Process, end_leftover

GRACE = 30
"""s; a worker that is asked to stop finishes the image that it has in hand."""


def describe(folder: Path) -> list[Process]:
    """The processes, not yet started; their logs go to `folder/logs`."""
    roles = {
        "consumer": ["consumer"],
        **{f"worker-{lane}": ["worker", "--lane", lane] for lane in LANES},
        "beat": ["beat"],
        "web": ["web"],
    }
    return [
        Process(name, [sys.executable, "-m", "workers", *command], folder, grace=GRACE)
        for name, command in roles.items()
    ]


@contextmanager
def running(folder: Path) -> Iterator[list[Process]]:
    """All of them, started with this process's environment; asked to stop together at the end."""
    with ExitStack() as stopping:
        processes = describe(folder)
        for process in processes:
            end_leftover(folder, process.name)
            stopping.callback(process.stop)
            process.start()
        stopping.callback(_ask_to_stop, processes)
        yield processes


def _ask_to_stop(processes: list[Process]) -> None:
    for process in processes:
        process.ask_to_stop()
