"""A bound on memory around code that takes untrusted bytes."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATM = Path("/proc/self/statm")


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """Let this process allocate up to `more` bytes beyond what it holds; past that, allocations fail.

    Python code then sees a `MemoryError`, a C library its own error. The bound is the kernel's (RLIMIT_DATA), so it
    holds whatever a decoder does, and for the whole process, threads included.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = _held() + more
    resource.setrlimit(resource.RLIMIT_DATA, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _held() -> int:
    """Bytes of private writable memory (proc(5), `data`): what the limit counts."""
    return int(_STATM.read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
