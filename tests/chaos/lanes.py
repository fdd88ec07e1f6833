"""Does a backfill slow the live lane down?"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.records import UploadEvent
from tests.chaos.cluster import Cluster
from tests.chaos.load import Sender, make_feed
from tests.chaos.run import lookup, until
from workers.stream import submit

LATENCIES = """
    SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM v.created_at - a.received_at))
    FROM announcements a JOIN verdicts v ON v.upload_id = a.upload_id
    WHERE a.event_id LIKE %s AND v.superseded_at IS NULL
"""
"""Of a row's arrival in the ledger to its verdict, s."""


@dataclass(frozen=True)
class Latency:
    name: str
    uploads: int
    p50: float
    p95: float
    """Seconds."""
    backfilled: int = 0
    """Verdicts of the backfill in the same time."""


def measure(cluster: Cluster, name: str, *, count: int, rate: float, seed: int) -> Latency:
    """Live uploads alone."""
    feed = make_feed(cluster, name, count, seed=seed)
    sender = Sender(cluster, feed, rate).start()
    until(cluster, lambda: not sender.sending and lookup(cluster, feed, sender.acknowledged).settled, 600)
    with cluster.sql() as connection:
        [(quantiles,)] = connection.execute(LATENCIES, [f"{name}/%"]).fetchall()
    return Latency(name, len(sender.acknowledged), *quantiles, backfilled=backfilled(cluster))


def start_backfill(cluster: Cluster, count: int, seed: int) -> None:
    """`count` images in the bucket, and their events on the backfill lane, past the door."""
    feed = make_feed(cluster, "backfill", count, seed=seed, lane="backfill", repeated=0, overtaken=0, callbacks=0)
    for event in feed.events:
        submit(cluster.dependencies.redis, cluster.settings, UploadEvent.model_validate(event), door="chaos")


def backfilled(cluster: Cluster) -> int:
    with cluster.sql() as connection:
        query = "SELECT count(*) FROM uploads WHERE lane = 'backfill' AND state = 'done'"
        [(count,)] = connection.execute(query).fetchall()
    return int(count)
