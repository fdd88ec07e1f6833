"""The embedded stack: it starts, says what it is, keeps its data, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis

from tests.servers import TRITON_PROGRAM
from workers.local.postgres import SYSTEM_USER, PostgresServer
from workers.local.processes import Process, ProcessFailed, free_port
from workers.local.redis import RedisServer
from workers.local.stack import LocalStack
from workers.local.triton import TritonServer

RUN_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from workers.local.stack import LocalStack
with LocalStack(Path(sys.argv[1]), triton_program=Path(sys.argv[2])) as stack:
    print(*(server.process.pid for server in stack.servers), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(server_folder: Path, request: pytest.FixtureRequest) -> Path:
    return server_folder / request.node.name


@pytest.fixture(scope="module")
def stack(server_folder: Path) -> Iterator[LocalStack]:
    with LocalStack(server_folder / "stack", triton_program=TRITON_PROGRAM) as running:
        yield running


def plain_dsn(server: PostgresServer) -> str:
    return server.dsn().replace("+psycopg", "")


def test_each_server_says_its_version(stack: LocalStack) -> None:
    versions = stack.versions()
    assert versions["postgres"].startswith("18.")
    assert versions["redis"].startswith("6.2.")
    assert versions["s3"].startswith("rclone v1.")
    assert versions["triton"] == "2.51.0"


def test_redis_keeps_what_it_took_and_evicts_nothing(stack: LocalStack) -> None:
    with redis.Redis.from_url(stack.redis.url, decode_responses=True) as client:
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


def test_pgvector_is_there(stack: LocalStack) -> None:
    with psycopg.connect(plain_dsn(stack.postgres)) as connection:
        connection.execute("CREATE EXTENSION vector")


def test_servers_listen_on_loopback_only(stack: LocalStack) -> None:
    listening = {
        connection.laddr.ip
        for server in stack.servers
        for connection in psutil.Process(server.process.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_passwords_are_needed_and_private(stack: LocalStack) -> None:
    passwords = stack.folder / "passwords.json"
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(plain_dsn(stack.postgres), password="guess")
    with (
        redis.Redis.from_url(stack.redis.url.replace("redis://:", "redis://:not-")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    assert httpx.get(stack.s3.url).status_code in {400, 403}
    for server in stack.servers:
        shown = " ".join(psutil.Process(server.process.pid).cmdline())
        assert not any(secret in shown for secret in passwords.read_text().split('"')[3::4])


def test_a_second_stack_on_the_same_folder_is_refused(stack: LocalStack) -> None:
    with pytest.raises(ProcessFailed, match="another stack"), LocalStack(stack.folder):
        pass


def test_data_survives_a_restart(folder: Path) -> None:
    for run in (1, 2):
        with PostgresServer(folder) as postgres, psycopg.connect(plain_dsn(postgres)) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS runs (run int)")
            connection.execute("INSERT INTO runs VALUES (%s)", [run])
            kept = connection.execute("SELECT run FROM runs ORDER BY run").fetchall()
        with RedisServer(folder) as server, redis.Redis.from_url(server.url) as client:
            client.rpush("runs", run)
            pushed = client.lrange("runs", 0, -1)
    assert kept == [(1,), (2,)]
    assert pushed == [b"1", b"2"]


def test_kill_9_of_the_parent_leaves_no_child_and_the_next_start_works(folder: Path) -> None:
    command = [sys.executable, "-c", RUN_UNTIL_KILLED, str(folder), str(TRITON_PROGRAM)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(pids) == 4
        assert set(pids) <= {child.pid for child in children}
        os.kill(parent.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
    with LocalStack(folder, triton_program=TRITON_PROGRAM) as stack:
        assert set(stack.versions()) == {"postgres", "redis", "s3", "triton"}


def test_a_leftover_of_a_killed_run_is_ended_before_the_next_start(folder: Path) -> None:
    """As after a kill -9 whose children have not finished stopping: nobody holds them any more."""
    left = RedisServer(folder)
    left.launch()
    left.wait()
    orphan = psutil.Process(left.process.pid)
    with RedisServer(folder) as server:
        assert server.version()
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_postgres_starts_over_what_crashes_left(folder: Path) -> None:
    draft = folder / "postgres" / "draft"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("an initdb that was killed")
    with PostgresServer(folder, durable=False) as server:
        pid_file = server.data / "cluster" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    # The pid of the killed postmaster now belongs to another process of the same user, on which Postgres would wait.
    stranger = Process("stranger", ["sleep", "600"], folder, user=SYSTEM_USER if os.geteuid() == 0 else None)
    with ExitStack() as cleanup:
        cleanup.callback(stranger.stop)
        stranger.start()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        with PostgresServer(folder, durable=False) as server:
            assert server.version()


def test_triton_says_what_is_missing(folder: Path) -> None:
    with pytest.raises(ProcessFailed, match="make install"), TritonServer(folder, folder / "absent"):
        pass


def test_a_process_that_ends_early_is_reported_with_its_log(folder: Path) -> None:
    process = Process("short", [sys.executable, "-c", "print('my last words'); raise SystemExit(7)"], folder)
    process.start()
    deadline = time.monotonic() + 10
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ProcessFailed, match=r"(?s)exit code 7.*my last words"):
        process.require_alive()


def test_stop_ends_a_process_that_will_not_listen_and_its_children(folder: Path) -> None:
    deaf = (
        "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen(['sleep', '600']); print('ready', flush=True); time.sleep(600)"
    )
    process = Process("deaf", [sys.executable, "-c", deaf], folder, grace=0.5)
    with ExitStack() as cleanup:
        cleanup.callback(process.stop)
        process.start()
        while "ready" not in process.log_tail():
            process.require_alive()
            time.sleep(0.01)
        family = psutil.Process(process.pid).children(recursive=True)
        process.stop()
        assert family
        assert psutil.wait_procs(family, timeout=5)[1] == []


def test_free_ports_are_below_the_ephemeral_range() -> None:
    assert 20_000 <= free_port() < 32_000
