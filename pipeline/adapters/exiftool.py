"""`ExifReader` over ExifTool, kept open; Pillow stands in where ExifTool hangs, dies, talks nonsense or is missing.

ExifTool never sees a format outside the decoder's allow-list (CVE-2021-22204 came through DjVu), and its arguments
hold nothing that a user wrote. It reads the bytes from memory that both processes share: no upload touches a disk, so
none can fill it, and none is left there whoever is killed.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, cast

import structlog

from pipeline.adapters.pillow_exif import PillowExifReader
from pipeline.exif import exif_facts
from pipeline.records import ExifFacts

log = structlog.get_logger()

MAX_ANSWER = 16 << 20
"""Bytes of an answer that are read; the longest of a hostile corpus is under 1 MiB."""

_GRACE = 5.0
"""s; a killed process is waited for no longer."""

_DIE_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
"""Asks the kernel for SIGKILL when the worker dies (prctl(2), PR_SET_PDEATHSIG), then becomes ExifTool: at the end of
its input that one would wait for ever. A `preexec_fn` is unsafe in a worker, whose gRPC channel has threads."""

_FAILURES = (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""A process that hangs, dies or does not start, and an answer that is no JSON of the form that ExifTool writes."""


class ExifToolReader:
    """One ExifTool process, started at the first file and again after a failure. For one thread at a time.

    Args:
        timeout: seconds for one file, start of the process included.
        executable: name or path of ExifTool.
    """

    def __init__(self, *, timeout: float, executable: str = "exiftool") -> None:
        self._timeout = timeout
        self._executable = executable
        self._session: _Session | None = None
        self._fallback = PillowExifReader()

    def read(self, content: bytes, format: str) -> tuple[ExifFacts, Mapping[str, Any]]:
        try:
            self._session = self._session or _Session(self._executable)
            raw = self._session.ask(content, time.monotonic() + self._timeout)
        except _FAILURES as error:
            log.warning("exiftool_failed", error=type(error).__name__)
            self.close()
            return self._fallback.read(content, format, warning=f"ExifTool failed ({type(error).__name__})")
        return exif_facts(raw, "exiftool"), raw

    def close(self) -> None:
        """End the process, without waiting for it to agree."""
        session, self._session = self._session, None
        if session is not None:
            session.kill()

    def __enter__(self) -> ExifToolReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Session:
    """An ExifTool that stays open (`-stay_open`). After any error it is out of step: kill it."""

    def __init__(self, executable: str) -> None:
        self._shared = os.memfd_create("lenswatch-upload")
        self._name = f"/proc/self/fd/{self._shared}"
        self._asked = 0
        guarded = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, executable]
        self._process = subprocess.Popen(  # noqa: S603 - the name comes from our own code
            [*guarded, "-stay_open", "True", "-@", "-", "-common_args", "-G", "-n"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what concerns the file is in the answer; a pipe that nobody reads would fill
            pass_fds=[self._shared],
        )
        self._input, self._output = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)

    def ask(self, content: bytes, deadline: float) -> dict[str, Any]:
        """The tags of one file, by `group:name`.

        Raises:
            OSError (TimeoutError at the deadline), EOFError, ValueError, TypeError, LookupError, RecursionError.
        """
        os.ftruncate(self._shared, 0)
        with open(self._shared, "wb", closefd=False) as file:
            file.seek(0)
            file.write(content)
        self._asked += 1
        # -fast: not past the end of a JPEG's picture; a tail is nobody's EXIF.
        self._send("-j", "-fast", self._name, f"-execute{self._asked}")
        answer = self._receive(f"{{ready{self._asked}}}\n".encode(), deadline)
        # ExifTool writes text that looks like a number as one ("1.10"), so numbers stay text until exif.py.
        (tags,) = json.loads(answer, parse_float=str, parse_int=str)
        if tags["SourceFile"] != self._name:
            raise ValueError("an answer about another file")
        return {key: value for key, value in tags.items() if not key.startswith(("File:", "SourceFile"))}

    def kill(self) -> None:
        self._process.kill()
        for pipe in (self._input, self._output):
            with suppress(OSError):  # what could not be written before is not written now
                pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        os.close(self._shared)

    def _send(self, *arguments: str) -> None:
        self._input.write("".join(f"{argument}\n" for argument in arguments).encode())
        self._input.flush()

    def _receive(self, end: bytes, deadline: float) -> bytes:
        """What ExifTool writes, up to the line that ends an answer."""
        readable = select.poll()  # `select` itself knows no descriptor over 1023
        readable.register(self._output, select.POLLIN)
        answer = bytearray()
        while not answer.endswith(end):
            if not readable.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError("ExifTool did not answer")
            chunk = os.read(self._output.fileno(), 1 << 16)
            if not chunk:
                raise EOFError("ExifTool ended")
            answer += chunk
            if len(answer) > MAX_ANSWER:
                raise ValueError(f"an answer over {MAX_ANSWER} bytes")
        return bytes(answer[: -len(end)])
