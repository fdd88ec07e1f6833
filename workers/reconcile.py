"""Runs the comparison of buckets with the ledger, for the nightly job and for the command."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator

from pipeline.reconcile import Difference, Finding, LedgerEntry, compare, mending
from pipeline.records import Lane, UploadEvent
from workers.bootstrap import Dependencies
from workers.stream import StreamFull, submit

PAGE = 1000
"""Keys of the ledger at a time; as many as S3 lists."""

FULL_PAUSE = 2.0
"""Seconds that an announcement in no hurry waits where its stream is full."""


def reconcile_bucket(
    deps: Dependencies,
    bucket: str,
    *,
    repair: bool,
    surface: str = "default",
    lane: Lane = Lane.BACKFILL,
    on_key: Callable[[Difference | None], None] = lambda _: None,
) -> Counter[str]:
    """Compare one bucket, and mend the differences where `repair` is set. `on_key` sees each key.

    Returns:
        How many keys agree, and how many differ by finding.

    Raises:
        ObjectStoreUnavailable, StoreUnavailable, StreamUnavailable: what was mended until then stays so.
    """
    counts = Counter({"agree": 0, **{finding.value: 0 for finding in Finding}})
    started, kept = deps.clock.now(), deps.settings.retention.uploads
    before, since = started - deps.settings.worker.reconcile_grace, started - kept if kept else None
    listing = deps.objects.list_objects(bucket)
    for difference in compare(bucket, listing, ledger(deps, bucket), before=before, since=since):
        on_key(difference)
        counts[difference.finding.value if difference else "agree"] += 1
        if difference is not None and repair:
            announce(deps, mending(difference, seen_at=started, surface=surface, lane=lane), door="reconcile")
    return counts


def ledger(deps: Dependencies, bucket: str) -> Iterator[LedgerEntry]:
    """The bucket's keys as the ledger knows them, page by page, each in a transaction of its own."""
    after = ""
    while True:
        with deps.stores.transaction() as transaction:
            page = transaction.inventory.page(bucket, after=after, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].key


def announce(deps: Dependencies, event: UploadEvent, *, door: str) -> str:
    """Put it on the stream, however long that is full: it is in no hurry. Returns the entry's id."""
    while True:
        try:
            return submit(deps.redis, deps.settings, event, door=door)
        except StreamFull:
            time.sleep(FULL_PAUSE)
