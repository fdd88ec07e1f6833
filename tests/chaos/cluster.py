"""All of Lenswatch on one machine, watched over as an orchestrator does: what ends is started again."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis

from pipeline.settings import Settings
from tests.chaos.proxy import StoreProxy
from tests.chaos.receiver import CALLBACK, Receiver
from tests.servers import TRITON_PROGRAM
from workers.bootstrap import Dependencies
from workers.local import services
from workers.local.launch import prepare
from workers.local.passwords import Passwords
from workers.local.server import Server
from workers.local.stack import LocalStack

PR_SET_CHILD_SUBREAPER = 36

RESTART_DELAY = 0.5
"""Seconds that the orchestrator takes to start again what has ended."""

WORK_FOLDER_SIZE = "16m"

IMPATIENT = {
    # A deployment's waits, shortened: what takes a quarter of an hour there is seen here within one.
    "LENSWATCH_WORKER__TASK_TIME_LIMIT": "20",
    "LENSWATCH_WORKER__STALE_AFTER": "PT25S",
    "LENSWATCH_WORKER__RETRY_DELAY": "PT1S",
    "LENSWATCH_WORKER__RECLAIM_IDLE": "PT5S",
    "LENSWATCH_WORKER__RECONCILE_GRACE": "PT1S",
    "LENSWATCH_S3__CONNECT_TIMEOUT": "2",
    "LENSWATCH_S3__READ_TIMEOUT": "4",
    "LENSWATCH_TRITON__TIMEOUT": "5",
    "LENSWATCH_LOG_LEVEL": "WARNING",
}


class Cluster:
    """Servers, processes, and the ways to hurt them."""

    def __init__(self, stack: LocalStack, store: StoreProxy, receiver: Receiver, work_folder: Path) -> None:
        self.stack = stack
        self.store = store
        self.receiver = receiver
        self.work_folder = work_folder
        self.settings = Settings()
        self.dependencies = Dependencies(self.settings)
        self.processes = {process.name: process for process in services.describe(stack.folder)}
        mine = {server.process.pid for server in stack.servers}
        self._bystanders = {child.pid for child in psutil.Process().children()} - mine

    def start(self) -> None:
        for process in self.processes.values():
            process.start()

    def stop(self) -> None:
        for process in self.processes.values():
            process.ask_to_stop()
        for process in self.processes.values():
            process.stop()

    def watch(self) -> None:
        """Start again what has ended, until told to stop. Not in a thread: the kernel ends a child with its thread."""
        for process in self.processes.values():
            if not process.alive:
                time.sleep(RESTART_DELAY)
                process.start()
        for server in self.stack.servers:
            if server.running and not server.process.alive:
                time.sleep(RESTART_DELAY)
                server.launch()  # whoever needs it waits, as for any server that is away

    @property
    def api_key(self) -> str:
        return Passwords(self.stack.folder).get("api_key")

    def kill(self, name: str) -> None:
        """SIGKILL to the process alone, as the kernel's memory killer does it; its children are on their own."""
        os.kill(self.processes[name].pid, signal.SIGKILL)

    def terminate(self, name: str) -> None:
        self.processes[name].ask_to_stop()

    def pool(self, name: str) -> list[psutil.Process]:
        """The processes in which a worker runs its tasks."""
        return psutil.Process(self.processes[name].pid).children()

    def lenswatch(self, *command: str) -> None:
        """Run a command of Lenswatch as its operator does."""
        program = [sys.executable, "-m", "workers", *command]
        subprocess.run(program, check=True, timeout=120, stdout=subprocess.DEVNULL, env=os.environ)

    @contextmanager
    def redeployed(self, environment: dict[str, str]) -> Iterator[None]:
        """All processes are stopped, and started with more in their environment; at the end, without it again."""
        os.environ.update(environment)
        self._redeploy()
        try:
            yield
        finally:
            for name in environment:
                del os.environ[name]
            self._redeploy()

    def _redeploy(self) -> None:
        self.stop()
        self.processes = {process.name: process for process in services.describe(self.stack.folder)}
        self.start()

    @contextmanager
    def away(self, server: Server, *, kill: bool = True) -> Iterator[None]:
        """A server is killed (or asked to stop), and started again at the end, on its old data and port."""
        server.process.ask_to_stop() if not kill else os.kill(server.process.pid, signal.SIGKILL)
        server.stop()
        try:
            yield
        finally:
            server.launch()
            server.wait()

    def rest(self, seconds: float) -> None:
        """Let time pass, with the orchestrator awake."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.watch()
            time.sleep(0.1)

    @contextmanager
    def frozen(self, *processes: psutil.Process) -> Iterator[None]:
        """SIGSTOP, then SIGCONT: parents, which come first in `processes`, go on last and find their children awake.

        Triton aborts where it goes on first and finds the lock of a stub that still stands (`lock_exception`, 2.51).
        """
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in reversed(processes):
                if process.is_running():
                    process.resume()

    def sql(self) -> psycopg.Connection[tuple[Any, ...]]:
        dsn = self.stack.postgres.dsn().replace("+psycopg", "")
        return psycopg.connect(dsn, autocommit=True, connect_timeout=5, application_name="chaos")

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.stack.redis.url, socket_timeout=5)

    def connections(self) -> tuple[int, int]:
        """How many Postgres and Redis hold, ours left out."""
        with self.sql() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lenswatch'"
            [(postgres,)] = connection.execute(query).fetchall()
        with self.redis() as client:
            return int(postgres), len(client.client_list()) - 1

    def orphans(self) -> list[str]:
        """Descendants whose parent died; the kernel gives them to us (`PR_SET_CHILD_SUBREAPER`)."""
        known = self._bystanders | {process.pid for process in self.processes.values()}
        known |= {server.process.pid for server in self.stack.servers}
        return [
            " ".join(child.cmdline()[:6])
            for child in psutil.Process().children()
            if child.pid not in known and child.status() != psutil.STATUS_ZOMBIE
        ]


@contextmanager
def running(environment: dict[str, str] | None = None, *, keep: Path | None = None) -> Iterator[Cluster]:
    """A fresh cluster in a temporary folder, its object store behind a proxy. `keep`: where its logs are copied to."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with ExitStack() as opened:
        folder = Path(tempfile.mkdtemp(prefix="lenswatch-chaos-"))
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        if keep:
            opened.callback(shutil.copytree, folder / "logs", keep, dirs_exist_ok=True)
        work_folder = opened.enter_context(_work_folder(folder / "work"))
        stack = opened.enter_context(LocalStack(folder, triton_program=TRITON_PROGRAM))
        store, receiver = StoreProxy(stack.s3.url), Receiver()
        for door in (store, receiver):
            door.open()
            opened.callback(door.close)
        os.environ.update(
            stack.environment()
            | IMPATIENT
            | {
                "LENSWATCH_S3__ENDPOINT_URL": store.url,
                "LENSWATCH_WEB__WEBHOOKS": json.dumps({CALLBACK: receiver.url}),
                "TMPDIR": str(work_folder),
            }
            | (environment or {})
        )
        cluster = Cluster(stack, store, receiver, work_folder)
        opened.callback(cluster.dependencies.close)
        prepare(cluster.dependencies)
        opened.callback(cluster.stop)
        cluster.start()
        yield cluster


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """A small file system of its own, so that it can be filled up; where mounting is not allowed, a plain folder."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={WORK_FOLDER_SIZE}", "lenswatch-chaos", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)
