"""The four servers together, under one data folder."""

from __future__ import annotations

import fcntl
import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TextIO

from pipeline.people import KeyRole
from workers.keys import key_setting
from workers.local.files import write_private
from workers.local.passwords import Passwords
from workers.local.postgres import PostgresServer
from workers.local.processes import LOOPBACK, ProcessFailed, free_port
from workers.local.redis import RedisServer
from workers.local.s3 import S3Server
from workers.local.server import Server
from workers.local.triton import PROGRAM, TritonServer

ADMIN = "admin"
"""Who can sign in from the start, and what her password is called in `Passwords`."""

DEFAULT_FOLDER = Path(".lenswatch")


class LocalStack:
    """Postgres, Redis, S3 and Triton on free loopback ports; a second start on the same folder finds its data again.

    >>> with LocalStack(Path(".lenswatch")) as stack:  # doctest: +SKIP
    ...     subprocess.run(["lenswatch", "models", "list"], env=os.environ | stack.environment())
    """

    def __init__(self, folder: Path = DEFAULT_FOLDER, *, triton_program: Path = PROGRAM) -> None:
        self.folder = folder.resolve()
        self.postgres = PostgresServer(folder)
        self.redis = RedisServer(folder)
        self.s3 = S3Server(folder)
        self.triton = TritonServer(folder, triton_program)
        self._web_port = 0
        self._running = ExitStack()

    @property
    def servers(self) -> tuple[Server, ...]:
        return (self.postgres, self.redis, self.s3, self.triton)

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.callback(self._lock().close)
            for server in self.servers:
                starting.callback(server.stop)
                server.launch()
            for server in self.servers:
                server.wait()
            self._web_port = free_port()
            starting.callback(self.environment_file.unlink, missing_ok=True)
            passwords = Passwords(self.folder)
            secrets = {"KEY": passwords.get("api_key"), "ADMIN_PASSWORD": passwords.get(ADMIN)}
            for_a_shell = self.environment() | secrets
            write_private(self.environment_file, "".join(_shell_lines(for_a_shell)))
            self._running = starting.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for server in self.servers:  # all at once, so that their last words overlap
            server.process.ask_to_stop()
        self._running.close()

    @property
    def web_url(self) -> str:
        """Where the HTTP service is to listen."""
        return f"http://{LOOPBACK}:{self._web_port}"

    @property
    def environment_file(self) -> Path:
        """For a shell (`set -a; . FILE`), while the stack is up: `environment()`, `KEY`, which opens its doors, and
        `ADMIN_PASSWORD`, with which `admin` signs in.

        For its owner's eyes only.
        """
        return self.folder / "environment"

    def environment(self) -> dict[str, str]:
        """The `LENSWATCH_*` settings of everything that runs against this stack; they hold passwords."""
        passwords = Passwords(self.folder)
        settings = {
            "LENSWATCH_WEB__PORT": str(self._web_port),
            "LENSWATCH_WEB__API_KEYS": json.dumps({"local": key_setting(passwords.get("api_key"), KeyRole.ADMIN)}),
            "LENSWATCH_SIGN_IN__SECURE_COOKIES": "false",  # no TLS on the loopback address
            "LENSWATCH_WEB__WEBHOOK_SECRETS": json.dumps([passwords.get("webhook_secret")]),
        }
        for server in self.servers:
            settings |= server.environment()
        return settings

    def versions(self) -> dict[str, str]:
        """Server name -> version, as each running server says."""
        return {server.name: server.version() for server in self.servers}

    def _lock(self) -> TextIO:
        """Hold the folder. The kernel lets go of the lock when we end in whatever way, so a killed run leaves none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            lock.close()
            raise ProcessFailed(f"another stack runs on {self.folder}") from held
        return lock


def _shell_lines(environment: Mapping[str, str]) -> Iterator[str]:
    return (f"{name}={shlex.quote(value)}\n" for name, value in environment.items())
