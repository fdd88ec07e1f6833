"""The HTTP door under load, with Redis up, killed, and back: is anything lost that was acknowledged?

    python -m tests.chaos.hook --rate 1000 --seconds 30 --json hook.json

Real Redis, Postgres, web and consumer processes. Events leave at a fixed rate whatever the answers (an open loop), and
latency counts from the moment at which an event should have left, so that a stalled door cannot hide.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

from pipeline.settings import Settings
from pipeline.store.migrate import upgrade
from tests.servers import settings_for
from workers.keys import hash_key, new_key
from workers.local.postgres import PostgresServer
from workers.local.processes import LOOPBACK, Process, free_port
from workers.local.redis import RedisServer

CONNECTIONS = 256
PATIENCE = 10  # s for one answer
STANDSTILL = 60  # s without a new row, after which what is still missing counts as lost
UP, DOWN, BACK = "redis up", "redis killed", "redis back"


@dataclass
class Phase:
    """What the door answered to the events of one phase."""

    name: str
    rate: float
    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    """0: no answer."""
    latencies: list[float] = field(default_factory=list)
    """s"""
    acknowledged: list[str] = field(default_factory=list)

    def record(self, event_id: str, status: int, latency: float) -> None:
        self.statuses[status] += 1
        self.latencies.append(latency)
        if status == 202:
            self.acknowledged.append(event_id)


@dataclass(frozen=True)
class Row:
    """One line of the table; latencies in ms."""

    phase: str
    sent: int
    acknowledged: int
    refused: int
    """503 and 429."""
    other: str
    """Any other answer, how often; 0: no answer."""
    lost: int
    p50: float
    p95: float
    p99: float


class Door:
    """As much of an HTTP client as keeps up: requests are ready-made bytes, connections are kept."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._head = (
            f"POST /v1/uploads HTTP/1.1\r\nHost: {LOOPBACK}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def send(self, event_id: str, phase: Phase, due: float) -> None:
        """Send one event and record its answer. `due` is when it should have left (`time.perf_counter`)."""
        event = {"event_id": event_id, "bucket": "uploads", "key": event_id, "uploaded_at": "2026-01-01T00:00:00Z"}
        body = json.dumps(event)
        try:
            async with self._free, asyncio.timeout(PATIENCE):
                status = await self._exchange(f"{self._head}{len(body)}\r\n\r\n{body}".encode())
        except (OSError, EOFError, TimeoutError):
            status = 0
        phase.record(event_id, status, time.perf_counter() - due)

    async def _exchange(self, request: bytes) -> int:
        """The answer's status. A kept connection that the server has closed says nothing; then a new one asks."""
        while self._idle:
            try:
                return await self._ask(*self._idle.pop(), request)
            except (OSError, EOFError):
                continue
        return await self._ask(*await asyncio.open_connection(LOOPBACK, self._port), request)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        return int(head.split(" ", 2)[1])


async def offer(port: int, key: str, phases: list[Phase], at_end_of_first: float | None = None, pid: int = 0) -> None:
    """The phases' events, one phase after the other without a pause; `pid` is killed after `at_end_of_first` s."""
    door, start = Door(port, key), time.perf_counter() + 0.1
    if at_end_of_first is not None:
        asyncio.get_running_loop().call_later(
            start - time.perf_counter() + at_end_of_first, os.kill, pid, signal.SIGKILL
        )
    async with asyncio.TaskGroup() as sending:
        for phase in phases:
            for number in range(round(phase.rate * phase.seconds)):
                due = start + number / phase.rate
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                sending.create_task(door.send(uuid.uuid4().hex, phase, due))
            start += phase.seconds


def run(rate: float, seconds: float, outage: float, web_processes: int = 1) -> list[Row]:
    """The whole experiment on fresh servers; a row per phase."""
    key = new_key()
    with ExitStack() as opened:
        folder = Path(tempfile.mkdtemp(prefix="lenswatch-hook-"))
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = opened.enter_context(PostgresServer(folder))
        redis = opened.enter_context(RedisServer(folder))
        environment = {
            "LENSWATCH_WEB__PORT": str(free_port()),
            "LENSWATCH_WEB__WORKERS": str(web_processes),
            "LENSWATCH_WEB__API_KEYS": json.dumps({"load": hash_key(key)}),
            "LENSWATCH_LOG_LEVEL": "ERROR",
        }
        settings = settings_for(postgres, redis, **environment)
        upgrade(settings)
        port = settings.web.port
        with processes(folder, postgres.environment() | redis.environment() | environment, port):
            uvloop.run(offer(port, key, [Phase("warm-up", rate / 4, 2)]))
            up, down, back = Phase(UP, rate, seconds), Phase(DOWN, rate, outage), Phase(BACK, rate, seconds / 6)
            uvloop.run(offer(port, key, [up, down], at_end_of_first=seconds, pid=redis.process.pid))
            redis.stop()
            redis.launch()
            redis.wait()
            uvloop.run(offer(port, key, [back]))
            return [row(phase, lost(phase, settings)) for phase in (up, down, back)]


@contextmanager
def processes(folder: Path, environment: dict[str, str], port: int) -> Iterator[None]:
    """Web and consumer, ready."""
    with ExitStack() as running:
        for name in ("web", "consumer"):
            process = Process(name, [sys.executable, "-m", "workers", name], folder, environment=environment)
            running.callback(process.stop)
            process.start()
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/readyz", timeout=5):
                    break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield


def lost(phase: Phase, settings: Settings) -> int:
    """Acknowledged events that are not in the ledger once the consumer had time for them."""
    dsn = settings.postgres.dsn.get_secret_value().replace("+psycopg", "")
    missing, seen_at = set(phase.acknowledged), time.monotonic()
    with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        while missing and time.monotonic() < seen_at + STANDSTILL:
            rows = connection.execute("SELECT event_id FROM uploads WHERE event_id = ANY(%s)", [list(missing)])
            if known := {event_id for (event_id,) in rows}:
                missing -= known
                seen_at = time.monotonic()
            time.sleep(1 if missing else 0)
    return len(missing)


def row(phase: Phase, lost: int) -> Row:
    refused = phase.statuses[503] + phase.statuses[429]
    sent, acknowledged = phase.statuses.total(), phase.statuses[202]
    other = ", ".join(f"{status}: {count}" for status, count in phase.statuses.items() if status not in (202, 429, 503))
    p50, p95, p99 = np.round(np.percentile(phase.latencies, [50, 95, 99]) * 1000, 1).tolist()
    return Row(phase.name, sent, acknowledged, refused, other, lost, p50, p95, p99)


def table(rows: list[Row], rate: float) -> Table:
    shown = Table(title=f"POST /v1/uploads, {rate:g} events per second; ms from when each was due")
    for name in Row.__dataclass_fields__:
        shown.add_column(name, justify="left" if name == "phase" else "right")
    for one in rows:
        shown.add_row(*(str(value) for value in asdict(one).values()))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000, help="events per second")
    parser.add_argument("--seconds", type=float, default=30, help="with Redis up")
    parser.add_argument("--outage", type=float, default=10, help="seconds with Redis killed")
    parser.add_argument("--web-processes", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    rows = run(arguments.rate, arguments.seconds, arguments.outage, arguments.web_processes)
    Console(width=120).print(
        table(rows, arguments.rate), f"load average of {os.cpu_count()} cores before: {before:.1f}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in rows], indent=2))
    sys.exit(any(one.lost or one.other for one in rows))


if __name__ == "__main__":
    main()
