"""What the four embedded servers have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from workers.local.processes import Process, ProcessFailed, end_leftover

READY_POLL = 0.1
"""Seconds between two looks at a server that is starting."""


class NotReady(Exception):
    """The server does not answer yet."""


class Server(ABC):
    """One embedded server whose data lies in `folder/<name>` and outlives it. Use it as a context manager."""

    name: str
    start_timeout: float = 60
    """Seconds until it must answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / self.name
        self._process: Process | None = None

    @abstractmethod
    def prepare(self) -> Process:
        """Write what the server needs on disk, choose its ports (once: a second launch keeps them), and describe its
        process."""

    @abstractmethod
    def version(self) -> str:
        """Version, as the running server says. Raises NotReady while it does not answer."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The `LENSWATCH_*` settings with which Lenswatch reaches this server; they hold its password."""

    def settle(self) -> None:  # noqa: B027 - most servers need nothing
        """What can be done only once the server answers, such as creating a database."""

    @property
    def process(self) -> Process:
        if self._process is None:
            raise ProcessFailed(f"{self.name} was not started")
        return self._process

    @property
    def running(self) -> bool:
        """Launched and not stopped; whether its process still lives, `process.alive` says."""
        return self._process is not None

    def launch(self) -> None:
        """Start the process and return at once, so that several servers start side by side."""
        self.data.mkdir(parents=True, exist_ok=True)
        end_leftover(self.folder, self.name)
        self._process = self.prepare()
        self._process.start()

    def wait(self) -> None:
        """Block until the server answers. Raises ProcessFailed when it ends or stays silent."""
        deadline = time.monotonic() + self.start_timeout
        while True:
            self.process.require_alive()
            try:
                self.version()
                break
            except NotReady as silence:
                if time.monotonic() > deadline:
                    raise ProcessFailed(
                        f"{self.name} did not answer in {self.start_timeout:.0f} s ({silence}); "
                        f"the end of {self.process.log}:\n{self.process.log_tail()}"
                    ) from silence
                time.sleep(READY_POLL)
        self.settle()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __enter__(self) -> Self:
        try:
            self.launch()
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def wheel_file(package: str, folder: str, name: str) -> Path:
    """A file that the wheel of `package` installed. Raises ProcessFailed when the wheel is missing."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ProcessFailed(f"{package} is not installed; the embedded servers need `pip install 'lenswatch[local]'`")
    return Path(spec.origin).parent / folder / name
