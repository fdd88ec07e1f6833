"""Uploads with everything that a real feed has: repeated events, events that overtake one another, refusals."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.chaos.cluster import Cluster
from tests.chaos.receiver import CALLBACK
from tests.images import jpeg, photo

REPEATED, OVERTAKEN = 0.1, 0.1
"""Shares of uploads whose event comes twice, and of those that are overwritten, the older event coming last."""

CALLBACKS = 0.2
"""Share of events that ask for a webhook."""

RETRY_PAUSE = 0.5  # s


@dataclass(frozen=True)
class Feed:
    """Events in the order in which the door gets them, their objects in the bucket already."""

    events: list[dict[str, Any]]
    current: dict[str, dict[str, Any]]
    """Key -> event that tells of the object as it is now."""


def make_feed(
    cluster: Cluster,
    name: str,
    count: int,
    *,
    seed: int,
    lane: str = "live",
    repeated: float = REPEATED,
    overtaken: float = OVERTAKEN,
    callbacks: float = CALLBACKS,
) -> Feed:
    """Put `count` distinct small images into the bucket under `name`, and make their events."""
    random_ = random.Random(f"{name}:{seed}")
    bucket = cluster.settings.s3.buckets[0]
    objects = cluster.dependencies.objects
    first: list[dict[str, Any]] = []
    late: list[dict[str, Any]] = []
    current: dict[str, dict[str, Any]] = {}
    for number in range(count):
        key = f"{name}/{number:05}.jpg"
        versions = 2 if random_.random() < overtaken else 1
        told = []
        for version in range(versions):
            etag = objects.put(bucket, key, jpeg(photo(64, 64, seed=random_.getrandbits(48))))
            told.append(_event(bucket, key, etag, name, version, lane, wants_callback=random_.random() < callbacks))
        first.append(told[-1])
        late += told[:-1]
        current[key] = told[-1]
    late += random_.sample(first, round(count * repeated))
    events = [(float(place), event) for place, event in enumerate(first)]
    places = {event["key"]: place for place, event in events}
    # Anywhere after the event that it repeats, or is older than.
    events += [(random_.uniform(places[event["key"]], count), event) for event in late]
    events.sort(key=lambda placed: placed[0])
    return Feed([event for _, event in events], current)


def _event(
    bucket: str, key: str, etag: str, name: str, version: int, lane: str, *, wants_callback: bool
) -> dict[str, Any]:
    event = {
        "event_id": f"{key}#{version}",
        "bucket": bucket,
        "key": key,
        "etag": etag,
        "sequencer": f"{time.time_ns():016X}",
        "uploaded_at": datetime.now(UTC).isoformat(),
        "uploader_id": f"uploader-of-{name}",
        "lane": lane,
    }
    return event | {"callback": CALLBACK} if wants_callback else event


@dataclass
class Sender:
    """Sends a feed through the HTTP door from a thread of its own, and remembers what the door has acknowledged."""

    cluster: Cluster
    feed: Feed
    rate: float
    """Events per second."""
    acknowledged: dict[str, float] = field(default_factory=dict)
    """Event id -> seconds (monotonic) at which its first 202 came."""
    refused: int = 0
    """Answers that were not 202, and connections that failed; each was tried again."""
    statuses: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._send_all, daemon=True)
        self._give_up = threading.Event()

    def start(self) -> Sender:
        self._thread.start()
        return self

    @property
    def sending(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._give_up.set()
        self._thread.join(30)

    def _send_all(self) -> None:
        waiting: deque[tuple[float, dict[str, Any]]] = deque()
        with httpx.Client(
            base_url=self.cluster.stack.web_url,
            headers={"Authorization": f"Bearer {self.cluster.api_key}"},
            timeout=10,
        ) as client:
            for event in self._paced():
                while waiting and waiting[0][0] <= time.monotonic():
                    self._send(client, waiting.popleft()[1], waiting)
                self._send(client, event, waiting)
            while waiting and not self._give_up.is_set():
                time.sleep(max(0.0, waiting[0][0] - time.monotonic()))
                self._send(client, waiting.popleft()[1], waiting)

    def _paced(self) -> Iterator[dict[str, Any]]:
        started = time.monotonic()
        for number, event in enumerate(self.feed.events):
            if self._give_up.wait(max(0.0, started + number / self.rate - time.monotonic())):
                return
            yield event

    def _send(self, client: httpx.Client, event: dict[str, Any], waiting: deque[tuple[float, dict[str, Any]]]) -> None:
        try:
            said = str(client.post("/v1/uploads", json=event).status_code)
        except httpx.TransportError as error:
            said = type(error).__name__
        self.statuses[said] = self.statuses.get(said, 0) + 1
        if said == "202":
            self.acknowledged.setdefault(event["event_id"], time.monotonic())
        else:
            self.refused += 1
            waiting.append((time.monotonic() + RETRY_PAUSE, event))
