"""What became of every acknowledged event, out of Postgres: one verdict, one dead letter, or a broken promise."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.cluster import Cluster
from tests.chaos.load import Feed

OUTCOMES = """
    WITH told AS (
        SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[]) AS t (event_id, bucket, key, etag)
    )
    SELECT told.event_id,
           count(DISTINCT u.id),
           count(DISTINCT v.id),
           count(DISTINCT d.id),
           coalesce(bool_or(u.state IN ('queued', 'scoring')), false),
           coalesce(bool_or(a.id IS NOT NULL), false),
           EXISTS (
               SELECT FROM uploads n JOIN verdicts nv ON nv.upload_id = n.id AND nv.superseded_at IS NULL
               WHERE n.bucket = min(told.bucket) AND n.object_key = min(told.key)
           )
    FROM told
    LEFT JOIN uploads u ON u.bucket = told.bucket AND u.object_key = told.key AND u.etag = told.etag
    LEFT JOIN announcements a ON a.upload_id = u.id AND a.event_id = told.event_id
    LEFT JOIN verdicts v ON v.upload_id = u.id AND v.superseded_at IS NULL
    LEFT JOIN dead_letters d ON d.upload_id = u.id AND d.resolved_at IS NULL
    GROUP BY told.event_id
"""
"""By object, so that a second row for it is seen, and one that reconciliation brought back counts."""

UNDELIVERED = """
    SELECT count(*) FROM outbox WHERE delivered_at IS NULL AND abandoned_at IS NULL
"""


@dataclass
class Outcome:
    """Of the acknowledged events of one run."""

    verdicts: int = 0
    dead_letters: int = 0
    unfinished: int = 0
    lost: list[str] = field(default_factory=list)
    """Acknowledged, and in neither."""
    doubled: list[str] = field(default_factory=list)
    """More than one row, verdict or dead letter, or one of each."""

    unannounced: int = 0
    """The ledger never saw the event: reconciliation found its object, or the one that has replaced it since."""

    @property
    def settled(self) -> bool:
        return not self.unfinished and not self.lost


def look(cluster: Cluster, events: Collection[Mapping[str, Any]]) -> Outcome:
    """How far the events are. While some are under way they count as unfinished, and as lost if no row knows them."""
    columns = [[event[name] for event in events] for name in ("event_id", "bucket", "key", "etag")]
    outcome = Outcome()
    with cluster.sql() as connection:
        for event_id, rows, verdicts, letters, unfinished, announced, key_has_verdict in connection.execute(
            OUTCOMES, columns
        ):
            if not announced and (rows or key_has_verdict):
                outcome.unannounced += 1
                continue
            if unfinished:
                outcome.unfinished += 1
            elif verdicts + letters == 0:
                outcome.lost.append(event_id)
            elif verdicts + letters > 1 or rows > 1:
                outcome.doubled.append(event_id)
            outcome.verdicts += bool(verdicts)
            outcome.dead_letters += bool(letters)
    return outcome


def overtaken(cluster: Cluster, feed: Feed) -> list[str]:
    """Keys whose verdict is about older bytes than those that the object holds now."""
    wrong = []
    for key, event in feed.current.items():
        with cluster.dependencies.stores.transaction() as transaction:
            view = transaction.verdicts.of_object(event["bucket"], key)
            if view is not None and transaction.uploads.get(view.upload_id).event.etag != event["etag"]:
                wrong.append(key)
    return wrong


def undelivered(cluster: Cluster) -> int:
    """Webhooks that still wait."""
    with cluster.sql() as connection:
        [(count,)] = connection.execute(UNDELIVERED).fetchall()
    return int(count)
