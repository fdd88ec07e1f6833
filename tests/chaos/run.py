"""One fault in the middle of one load, and what became of every acknowledged event."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from tests.chaos.audit import Outcome, look, overtaken, undelivered
from tests.chaos.cluster import Cluster
from tests.chaos.faults import FAULTS, WIPING, NotPossible
from tests.chaos.load import Feed, Sender, make_feed

POLL = 0.25  # s

PATIENCE = 180.0
"""Seconds after the end of a fault within which everything must have its answer."""

SOAK_PATIENCE = 600.0
"""The same after all faults in one load, which leave a backlog of most of its uploads."""

STRAY_CONNECTIONS = 5
"""By how many the connections may differ before and after: pools open them as they need them, up to a bound."""


@dataclass
class Row:
    """What one fault did."""

    fault: str
    acknowledged: int = 0
    refused: int = 0
    outcome: Outcome = field(default_factory=Outcome)
    overtaken: list[str] = field(default_factory=list)
    """Keys whose verdict is not of their newest event."""
    webhooks_waiting: int = 0
    recovery: float | None = None
    """Seconds from the end of the fault until all that was acknowledged by then was answered."""
    connections: tuple[int, int] = (0, 0)
    """More than before: in Postgres, in Redis."""
    orphans: list[str] = field(default_factory=list)
    skipped: str = ""
    wiped: bool = False
    """Whether Redis was: only then may events be missing, and their objects come back by reconciliation."""

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        if self.skipped:
            return True
        return not (
            self.outcome.unfinished
            or self.outcome.lost
            or self.outcome.doubled
            or self.overtaken
            or self.webhooks_waiting
            or self.orphans
            or max(self.connections) > STRAY_CONNECTIONS
            or self.recovery is None
            or (self.outcome.unannounced and not self.wiped)
        )


def warm_up(cluster: Cluster, count: int = 20) -> None:
    """Until every process has shown that it works: before that, refusals and new connections mean nothing."""
    feed = make_feed(cluster, "warm-up", count, seed=0)
    sender = Sender(cluster, feed, rate=count).start()
    if not until(cluster, lambda: not sender.sending and lookup(cluster, feed, sender.acknowledged).settled, PATIENCE):
        raise RuntimeError("the cluster does not answer even undisturbed")
    if letters := lookup(cluster, feed, sender.acknowledged).dead_letters:
        raise RuntimeError(f"{letters} dead letters even undisturbed")
    until(cluster, lambda: not undelivered(cluster), PATIENCE)


def run(cluster: Cluster, name: str, *, count: int, rate: float, seed: int, faults: Collection[str] = ()) -> Row:
    """Send `count` uploads at `rate` events/s, and `faults` (one of `name` by default) after a quarter of them."""
    chosen, patience = faults or [name], SOAK_PATIENCE if faults else PATIENCE
    row = Row(name, wiped=WIPING in chosen)
    before = cluster.connections()
    feed = make_feed(cluster, _slug(name), count, seed=seed)
    sender = Sender(cluster, feed, rate).start()
    until(cluster, lambda: len(sender.acknowledged) >= count / 4, PATIENCE)
    try:
        for one in chosen:
            FAULTS[one](cluster)
    except NotPossible as reason:
        row.skipped = str(reason)
    lifted = time.monotonic()
    early = dict(sender.acknowledged)
    if until(cluster, lambda: lookup(cluster, feed, early).settled, patience):
        row.recovery = time.monotonic() - lifted
    until(cluster, lambda: not sender.sending, patience)
    sender.stop()
    until(
        cluster,
        lambda: lookup(cluster, feed, sender.acknowledged).settled and not undelivered(cluster),
        patience,
    )
    row.acknowledged, row.refused = len(sender.acknowledged), sender.refused
    row.outcome = lookup(cluster, feed, sender.acknowledged)
    row.overtaken = overtaken(cluster, feed)
    row.webhooks_waiting = undelivered(cluster)
    until(cluster, lambda: not cluster.orphans(), 15)
    row.orphans = cluster.orphans()
    after = cluster.connections()
    row.connections = (after[0] - before[0], after[1] - before[1])
    return row


def lookup(cluster: Cluster, feed: Feed, acknowledged: Collection[str]) -> Outcome:
    """How far the acknowledged ones of a feed's events are."""
    events = {event["event_id"]: event for event in feed.events}
    return look(cluster, [events[event_id] for event_id in acknowledged])


def until(cluster: Cluster, condition: Callable[[], bool], patience: float) -> bool:
    """Whether `condition` came to hold, the orchestrator awake all the time."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        cluster.rest(POLL)
    return True


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
