"""Child processes that never outlive us: start, watch, stop."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from workers.local import guard

LOOPBACK = "127.0.0.1"

LOCAL_PORTS = range(20_000, 32_000)
"""Below Linux's ephemeral range (32768 and up), so that no outgoing connection takes a port between choice and use."""


class ProcessFailed(RuntimeError):
    """A child process ended early or did not become ready; carries the end of its log."""


_given: set[int] = set()


def free_port() -> int:
    """A loopback TCP port that nothing listens on now, and that this process has not been given before.

    A server that was given one may not listen yet when the next one asks.
    """
    for _ in range(1000):
        port = random.choice(LOCAL_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            _given.add(port)
            return port
    raise ProcessFailed(f"no free loopback port in {LOCAL_PORTS}")


class Process:
    """One child in a session of its own, with a log file and a pid file under `folder`.

    The kernel ends it when the *thread* that called `start` ends: start it from one that lives as long as it should.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace: float = 15,
    ) -> None:
        """`environment` is added to ours; `user` is the system user to drop to; `grace` is in seconds."""
        self.name = name
        self.log = folder / "logs" / f"{name}.log"
        self._pid_file = _pid_file(folder, name)
        self._command = [str(part) for part in command]
        self._environment = {**os.environ, **(environment or {})}
        self._user = user or guard.SAME_USER
        self._stop_signal = stop_signal
        self._grace = grace
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it. End what a killed run may have left of it before, with `end_leftover`."""
        for file in (self.log, self._pid_file):
            file.parent.mkdir(parents=True, exist_ok=True)
        guarded = [
            sys.executable, "-I", "-S", guard.__file__,
            str(os.getpid()), str(int(self._stop_signal)), self._user, *self._command,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                guarded,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone; we stop the children in order
            )
        started = psutil.Process(self.pid).create_time()  # tells it from a later process with the same pid
        self._pid_file.write_text(f"{self.pid} {started} {int(self._stop_signal)}")

    @property
    def pid(self) -> int:
        if self._child is None:
            raise ProcessFailed(f"{self.name} was not started")
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def require_alive(self) -> None:
        """Raises ProcessFailed, with the end of the log, when the process has ended."""
        if not self.alive:
            code = self._child.returncode if self._child else None
            raise ProcessFailed(f"{self.name} ended (exit code {code}); the end of {self.log}:\n{self.log_tail()}")

    def log_tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def stop(self) -> None:
        """Ask it to stop, and end its whole group if it has not within the grace period. Safe to call twice."""
        self.ask_to_stop()
        if self._child is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(self._grace)
        _kill_group(self._child.pid)
        self._child.wait()
        self._child = None
        self._pid_file.unlink(missing_ok=True)

    def ask_to_stop(self) -> None:
        """Send the stop signal and return at once."""
        if self._child is not None and self.alive:
            self._child.send_signal(self._stop_signal)


def end_leftover(folder: Path, name: str, grace: float = 15) -> None:
    """End what a killed run left of process `name`, if its pid still belongs to that very process."""
    pid_file = _pid_file(folder, name)
    if not pid_file.exists():
        return
    with suppress(ValueError, psutil.Error):  # a half-written file, or the process is gone
        pid, started, stop_signal = pid_file.read_text().split()
        leftover = psutil.Process(int(pid))
        if leftover.create_time() == float(started):
            leftover.send_signal(int(stop_signal))
            with suppress(psutil.TimeoutExpired):
                leftover.wait(grace)
            _kill_group(int(pid))
    pid_file.unlink(missing_ok=True)


def wait_until_exit(processes: Sequence[Process], poll: float = 0.5) -> Process:
    """Block until one of `processes` ends, and return it."""
    while True:
        for process in processes:
            if not process.alive:
                return process
        time.sleep(poll)


def _pid_file(folder: Path, name: str) -> Path:
    return folder / "run" / f"{name}.pid"


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
