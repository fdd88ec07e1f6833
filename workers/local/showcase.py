"""Images through the real door: into the bucket, their events onto the stream, their verdicts out of Postgres."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pipeline.records import UploadEvent
from pipeline.store import VerdictView
from workers.bootstrap import Dependencies
from workers.stream import submit

SURFACE = "samples"
POLL = 0.3  # s


def find_images(folder: Path) -> list[Path]:
    """Every file under `folder`, except hidden ones. What is no image gets its verdict, `rejected`, too."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def announce(deps: Dependencies, name: str, content: bytes) -> str:
    """Upload an image and put its event on the live stream; returns the event's id.

    The same bytes under the same name are the same event: a second run finds the verdict of the first.
    """
    bucket, key = deps.settings.s3.buckets[0], f"{SURFACE}/{name}"
    etag = deps.objects.put(bucket, key, content)
    event = UploadEvent(
        event_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"s3://{bucket}/{key}#{etag}")),
        bucket=bucket,
        key=key,
        etag=etag,
        uploaded_at=datetime.now(UTC),
        surface=SURFACE,
    )
    submit(deps.redis, deps.settings, event, door="up")
    return event.event_id


def follow(deps: Dependencies, events: Mapping[str, str], timeout: float) -> Iterator[dict[str, VerdictView | None]]:
    """Name -> current verdict, at each look, until every event (name -> event id) has one or `timeout` s are over."""
    deadline = time.monotonic() + timeout
    while True:
        with deps.stores.transaction() as transaction:
            views = transaction.verdicts.of_events(list(events.values()))
        yield {name: views.get(event_id) for name, event_id in events.items()}
        if len(views) == len(events) or time.monotonic() > deadline:
            return
        time.sleep(POLL)
