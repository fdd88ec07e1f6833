"""Ten thousand events, nothing broken: does anything grow?"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from tests.chaos.cluster import Cluster
from tests.chaos.load import Sender, make_feed
from tests.chaos.run import lookup

EARLY, LATE = (0.15, 0.20), (0.95, 1.0)
"""Shares of the events between which memory is read: its median."""

GROWTH = 0.10

WATCHED = ("consumer", "worker-live", "worker-live, its child", "web")

MIB = 2**20


@dataclass(frozen=True)
class Grown:
    process: str
    early: float
    late: float
    """MiB, unique to the process (USS)."""

    @property
    def kept(self) -> bool:
        return self.late <= self.early * (1 + GROWTH)


def soak(cluster: Cluster, *, count: int, rate: float, seed: int, patience: float) -> tuple[list[Grown], int]:
    """Memory early and late, and how many of the events were left without an answer."""
    feed = make_feed(cluster, "soak", count, seed=seed)
    sender = Sender(cluster, feed, rate).start()
    total = len({event["event_id"] for event in feed.events})
    samples: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    deadline = time.monotonic() + patience
    done = 0
    while (sender.sending or done < total) and time.monotonic() < deadline:
        cluster.rest(2)
        done = _finished(cluster)
        for name, memory in _memory(cluster).items():
            samples[name].append((done / total, memory))
    sender.stop()
    left = lookup(cluster, feed, sender.acknowledged)
    return [_grown(name, samples[name]) for name in WATCHED], len(left.lost) + left.unfinished


def _grown(name: str, samples: list[tuple[float, float]]) -> Grown:
    def median(span: tuple[float, float]) -> float:
        return statistics.median([memory for share, memory in samples if span[0] <= share <= span[1]] or [0.0])

    return Grown(name, median(EARLY), median(LATE))


def _finished(cluster: Cluster) -> int:
    with cluster.sql() as connection:
        query = (
            "SELECT count(*) FROM announcements a JOIN uploads u ON u.id = a.upload_id WHERE u.state = 'done' "
            "AND a.event_id LIKE 'soak/%'"
        )
        [(count,)] = connection.execute(query).fetchall()
    return int(count)


def _memory(cluster: Cluster) -> Mapping[str, float]:
    found = {}
    for name in ("consumer", "worker-live", "web"):
        found[name] = _uss(psutil.Process(cluster.processes[name].pid))
    for child in cluster.pool("worker-live"):
        found["worker-live, its child"] = _uss(child)
    return found


def _uss(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss) / MIB
    except psutil.Error:  # it was just replaced
        return 0.0
