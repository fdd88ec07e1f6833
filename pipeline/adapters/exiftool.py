"""`ExifReader` over ExifTool, kept open; Pillow stands in where ExifTool hangs, dies or is not installed.

ExifTool never sees a format outside the decoder's allow-list (CVE-2021-22204 came through DjVu), and its arguments
hold nothing that a user wrote: the bytes lie in a private file whose name is made here.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import exiftool
import structlog
from exiftool.exceptions import ExifToolException

from pipeline.adapters.pillow_exif import PillowExifReader
from pipeline.exif import exif_facts
from pipeline.records import ExifFacts

log = structlog.get_logger()

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "HEIF": ".heic", "AVIF": ".avif"}

_FAILURES = (ExifToolException, OSError, ValueError, RuntimeError, TypeError, AttributeError)
"""pyexiftool's own errors, and what its code runs into when the process dies under it."""


class ExifToolReader:
    """One ExifTool process, started at the first file and again after a failure. For one thread at a time.

    Args:
        timeout: seconds for one file, start of the process included.
        executable: name or path of ExifTool.
    """

    def __init__(self, *, timeout: float, executable: str = "exiftool") -> None:
        self._timeout = timeout
        self._executable = executable
        self._tool: exiftool.ExifTool | None = None
        self._fallback = PillowExifReader()

    def read(self, content: bytes, format: str) -> tuple[ExifFacts, Mapping[str, Any]]:
        try:
            raw = self._ask(content, _SUFFIXES[format])
        except _FAILURES as error:
            log.warning("exiftool_failed", error=type(error).__name__)
            self.close()
            return self._fallback.read(content, format, warning=f"ExifTool failed ({type(error).__name__})")
        return exif_facts(raw, "exiftool"), raw

    def close(self) -> None:
        """End the process, without waiting for it to agree."""
        tool, self._tool = self._tool, None
        process = tool and tool._process
        if tool is None or process is None:
            return
        with suppress(OSError), process:  # leaving the block closes the pipes and reaps the process
            process.kill()
        tool._flag_running_false()

    def __enter__(self) -> ExifToolReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _ask(self, content: bytes, suffix: str) -> dict[str, Any]:
        with tempfile.NamedTemporaryFile(prefix="lenswatch-", suffix=suffix) as file:
            file.write(content)
            file.flush()
            with self._running() as tool:
                # -fast: not past the end of a JPEG's picture; a tail is nobody's EXIF.
                answer = tool.execute("-j", "-fast", file.name)
        # ExifTool writes text that looks like a number as one ("1.10"), so numbers stay text until exif.py.
        parsed: list[dict[str, Any]] = json.loads(answer, parse_float=str, parse_int=str)
        return {key: value for key, value in parsed[0].items() if not key.startswith(("File:", "SourceFile"))}

    @contextmanager
    def _running(self) -> Iterator[exiftool.ExifTool]:
        """The open process, under a watchdog."""
        if self._tool is None:
            self._tool = exiftool.ExifTool(
                self._executable, common_args=["-G", "-n", "-charset", "filename=utf8"], encoding="utf-8"
            )
        watchdog = threading.Timer(self._timeout, _put_down, [self._tool])
        watchdog.daemon = True
        watchdog.start()
        try:
            if not self._tool.running:
                self._tool.run()
            yield self._tool
        finally:
            watchdog.cancel()


def _put_down(tool: exiftool.ExifTool) -> None:
    """Kill ExifTool and free the thread that waits for it.

    pyexiftool reads until ExifTool says that it is ready, and at the end of a dead process's output it reads on for
    ever. Its two pipes are replaced by ones that cannot be read, so that the next read raises.
    """
    process = tool._process
    if process is None:
        return
    process.kill()
    unreadable = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        for pipe in (process.stdout, process.stderr):
            os.dup2(unreadable, pipe.fileno())
    os.close(unreadable)
