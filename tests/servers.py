"""Real servers for tests, as fixtures. Each starts once per xdist worker, and only when a test first asks for it.

=====================  =====================================================================
`postgres_server`      Postgres without fsync; `redis_server`, `s3_server`, `triton_server` likewise
`migrated_dsn`         this worker's migrated database: leave it as you found it (roll back)
`fresh_dsn`            a migrated database of the test's own: commit as you like
`redis_url`            Redis, emptied before the test
=====================  =====================================================================
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis

from pipeline.settings import Settings
from pipeline.store.migrate import upgrade
from workers.local.postgres import PostgresServer
from workers.local.redis import RedisServer
from workers.local.s3 import S3Server
from workers.local.server import Server
from workers.local.triton import TritonServer

TRITON_PROGRAM = Path(__file__).parents[1] / ".lenswatch" / "triton-server"
TEMPLATE = "migrated"

MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps a file system in memory
ROOM = 2 * 2**30  # bytes


def kill_network(server: TritonServer, network: str) -> None:
    """SIGKILL to the process that computes this network for Triton, as the kernel sends it when memory runs out."""
    killed = 0
    for child in psutil.Process(server.process.pid).children(recursive=True):
        with suppress(psutil.ZombieProcess):  # killed before: Triton has not asked after it
            if any(network in argument for argument in child.cmdline()):
                child.kill()
                killed += 1
    if not killed:
        raise AssertionError(f"no process computes {network}")


def settings_for(*servers: Server, **environment: str) -> Settings:
    """The settings of a process that uses these servers, read from an environment that holds nothing else of ours."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LENSWATCH_")]:
            patch.delenv(name)
        for said in (*(server.environment() for server in servers), environment):  # the last word is the caller's
            for name, value in said.items():
                patch.setenv(name, value)
        return Settings(_env_file=None)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """Not pytest's own temporary folder: that one is closed to the system user as whom Postgres runs."""
    folder = Path(tempfile.mkdtemp(prefix="lenswatch-tests-", dir=MEMORY if _fits_into_memory() else None))
    yield folder
    shutil.rmtree(folder)


def _fits_into_memory() -> bool:
    """Databases are a hundred thousand small files in the end: a disk may take a minute to delete them."""
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:  # Triton runs a program of this folder
        return False
    return min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ROOM


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    with PostgresServer(server_folder, durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(server_folder: Path) -> Iterator[RedisServer]:
    with RedisServer(server_folder) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(server_folder: Path) -> Iterator[S3Server]:
    with S3Server(server_folder) as server:
        yield server


@pytest.fixture(scope="session")
def triton_server(server_folder: Path) -> Iterator[TritonServer]:
    with TritonServer(server_folder, TRITON_PROGRAM) as server:
        yield server


@pytest.fixture(scope="session")
def _template(postgres_server: PostgresServer) -> str:
    """A migrated database to which nobody is connected, so that it can be copied (30 ms instead of a migration)."""
    postgres_server.create_database(TEMPLATE)
    upgrade(settings_for(postgres_server, LENSWATCH_POSTGRES__DSN=postgres_server.dsn(TEMPLATE)))
    return TEMPLATE


@pytest.fixture(scope="session")
def migrated_dsn(postgres_server: PostgresServer, _template: str) -> str:
    postgres_server.create_database("shared", _template)
    return postgres_server.dsn("shared")


_numbers = itertools.count()


@pytest.fixture
def fresh_dsn(postgres_server: PostgresServer, _template: str) -> Iterator[str]:
    name = f"fresh_{next(_numbers)}"
    postgres_server.create_database(name, _template)
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    with redis.Redis.from_url(redis_server.url, socket_timeout=5) as client:
        client.flushall()
    return redis_server.url
