"""What a piece of code costs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Within the block, and to be asked after it: the most bytes held on top of what this process held before."""
    _CLEAR.write_text("5")  # VmHWM starts anew (proc(5))
    before = _bytes("VmRSS")
    peaks: list[int] = []
    yield lambda: peaks[0]
    peaks.append(_bytes("VmHWM") - before)


def _bytes(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
