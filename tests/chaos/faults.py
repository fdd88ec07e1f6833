"""What is broken on purpose, each in the middle of a load. A fault returns once it has put back what it took away."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil

from pipeline.adapters.triton import BINARY, BINARY_OUTPUTS, TritonClient
from pipeline.errors import DetectorUnavailable
from tests.chaos.cluster import Cluster
from tests.chaos.proxy import Mood
from tests.servers import kill_network

Fault = Callable[[Cluster], None]

FAULTS: dict[str, Fault] = {}

LIVE = "worker-live"

WIPING = "Redis wiped (FLUSHALL), then reconciled"

INTO_THE_STAGE = 1.5
"""Seconds until the live worker is surely waiting in the stage that was blocked."""

LIBFAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")

NAN_MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answer = pb_utils.Tensor("AI_PROBABILITY", np.full((1, 1), np.nan, dtype=np.float32))
        return [pb_utils.InferenceResponse([answer]) for _ in requests]
"""


def fault(name: str) -> Callable[[Fault], Fault]:
    def register(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return register


@fault("nothing")
def nothing(cluster: Cluster) -> None:
    """What the load looks like undisturbed."""


# Processes of ours


@fault("worker killed while it fetches")
def killed_fetching(cluster: Cluster) -> None:
    with cluster.store.in_mood(Mood.SILENT):
        _kill_in_stage(cluster)


@fault("worker killed while it reads EXIF")
def killed_reading_exif(cluster: Cluster) -> None:
    with cluster.frozen(*_exiftools(cluster)):
        _kill_in_stage(cluster)


@fault("worker killed while it waits for Triton")
def killed_detecting(cluster: Cluster) -> None:
    with cluster.frozen(*_tree(cluster.stack.triton.process.pid)):
        _kill_in_stage(cluster)


@fault("worker killed while it writes")
def killed_writing(cluster: Cluster) -> None:
    with cluster.sql() as connection, connection.transaction():
        connection.execute("LOCK TABLE verdicts IN EXCLUSIVE MODE")
        _kill_in_stage(cluster)


@fault("worker killed ten times, whatever it does")
def killed_again_and_again(cluster: Cluster) -> None:
    for _ in range(10):
        _kill_pool(cluster)
        cluster.rest(0.7)


@fault("worker killed, its parent process")
def worker_killed(cluster: Cluster) -> None:
    cluster.kill(LIVE)
    cluster.rest(2)


@fault("consumer killed")
def consumer_killed(cluster: Cluster) -> None:
    for _ in range(3):
        cluster.kill("consumer")
        cluster.rest(2)


@fault("beat killed")
def beat_killed(cluster: Cluster) -> None:
    cluster.kill("beat")
    cluster.rest(2)


@fault("web process killed")
def web_killed(cluster: Cluster) -> None:
    for _ in range(2):
        cluster.kill("web")
        cluster.rest(4)


@fault("deploy: all processes are asked to stop")
def deploy(cluster: Cluster) -> None:
    for name in cluster.processes:
        cluster.terminate(name)
    cluster.rest(5)


# Servers


@fault("Redis restarted")
def redis_restarted(cluster: Cluster) -> None:
    with cluster.away(cluster.stack.redis, kill=False):
        cluster.rest(3)


@fault("Redis killed")
def redis_killed(cluster: Cluster) -> None:
    with cluster.away(cluster.stack.redis):
        cluster.rest(3)


@fault(WIPING)
def redis_wiped(cluster: Cluster) -> None:
    """With entries in the streams that no ledger row knows: only the bucket still does (`lenswatch reconcile`)."""
    with cluster.frozen(*_tree(cluster.processes["consumer"].pid)), cluster.redis() as client:
        cluster.rest(1)
        client.flushall()
    cluster.rest(2)  # the older ones of what the streams hold now
    cluster.lenswatch("reconcile", "--repair", "--lane", "live")


@fault("Postgres restarted")
def postgres_restarted(cluster: Cluster) -> None:
    with cluster.away(cluster.stack.postgres, kill=False):
        cluster.rest(3)


@fault("Postgres killed")
def postgres_killed(cluster: Cluster) -> None:
    with cluster.away(cluster.stack.postgres):
        cluster.rest(3)


@fault("object store gone for 30 s")
def store_gone(cluster: Cluster) -> None:
    cluster.store.close()
    try:
        cluster.rest(30)
    finally:
        cluster.store.open()


@fault("object store slow")
def store_slow(cluster: Cluster) -> None:
    with cluster.store.in_mood(Mood.SLOW):
        cluster.rest(8)


@fault("object store answers 500")
def store_failing(cluster: Cluster) -> None:
    with cluster.store.in_mood(Mood.FAILING):
        cluster.rest(8)


@fault("object store cuts answers short")
def store_cutting(cluster: Cluster) -> None:
    with cluster.store.in_mood(Mood.CUTTING):
        cluster.rest(8)


@fault("Triton killed")
def triton_killed(cluster: Cluster) -> None:
    with cluster.away(cluster.stack.triton):
        cluster.rest(3)


@fault("Triton hangs")
def triton_hangs(cluster: Cluster) -> None:
    with cluster.frozen(*_tree(cluster.stack.triton.process.pid)):
        cluster.rest(12)


@fault("a network's process killed in Triton")
def network_killed(cluster: Cluster) -> None:
    """What the kernel does when memory runs out. Triton starts it not again, and calls itself ready."""
    kill_network(cluster.stack.triton, BINARY)
    cluster.rest(3)


@fault("Triton's queue is full")
def triton_full(cluster: Cluster) -> None:
    """Requests of somebody else, more than the model's `max_queue_size`."""
    patches = np.zeros((64, 64, 64, 3), dtype=np.uint8)
    client = TritonClient(cluster.settings.triton)
    [version] = _versions(cluster)

    def ask(_: int) -> bool:
        try:
            client.infer(BINARY, version, patches, BINARY_OUTPUTS)
        except DetectorUnavailable:
            return False
        return True

    with ThreadPoolExecutor(400) as crowd:
        answered = list(crowd.map(ask, range(400)))
    client.close()
    if all(answered):
        raise AssertionError("Triton took them all: nothing was full")


@fault("Triton answers NaN")
def triton_nan(cluster: Cluster) -> None:
    client = TritonClient(cluster.settings.triton)
    [version] = _versions(cluster)
    program = cluster.stack.triton.data / BINARY / str(version) / "model.py"
    sound = program.read_text()
    try:
        program.write_text(NAN_MODEL)
        client.load(BINARY)
        cluster.rest(5)
    finally:
        program.write_text(sound)
        client.load(BINARY)
        client.close()


# The machine


@fault("disk full in the work folder")
def disk_full(cluster: Cluster) -> None:
    if not cluster.work_folder.is_mount():
        raise NotPossible("the work folder could not be mounted as a file system of its own")
    ballast = cluster.work_folder / "ballast"
    with _filled(ballast):
        cluster.rest(6)


@fault("clock jumps back an hour, then ahead")
def clock_jumps(cluster: Cluster) -> None:
    """Of all our processes; Postgres and Redis keep the time."""
    if not LIBFAKETIME.exists():
        raise NotPossible("Debian's libfaketime is not installed")
    offset = cluster.work_folder / "clock"
    offset.write_text("+0")
    lies = {"LD_PRELOAD": str(LIBFAKETIME), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    with cluster.redeployed(lies | {"DONT_FAKE_MONOTONIC": "1"}):
        for jump in ("-3600", "+3600", "+0"):
            offset.write_text(jump)
            cluster.rest(5)


class NotPossible(Exception):
    """This machine cannot be broken in this way."""


def _kill_in_stage(cluster: Cluster) -> None:
    cluster.rest(INTO_THE_STAGE)
    _kill_pool(cluster)
    cluster.rest(0.5)


def _kill_pool(cluster: Cluster) -> None:
    for child in cluster.pool(LIVE):
        with suppress(psutil.NoSuchProcess):
            child.send_signal(signal.SIGKILL)


def _exiftools(cluster: Cluster) -> list[psutil.Process]:
    return [process for child in cluster.pool(LIVE) for process in child.children(recursive=True)]


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _versions(cluster: Cluster) -> set[int]:
    folder = cluster.stack.triton.data / BINARY
    return {int(path.name) for path in folder.iterdir() if path.name.isdigit()}


@contextmanager
def _filled(ballast: Path) -> Iterator[None]:
    with ExitStack() as cleaning:
        cleaning.callback(ballast.unlink, missing_ok=True)
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        yield
