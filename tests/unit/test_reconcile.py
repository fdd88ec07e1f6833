"""A listing against the ledger, key by key."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ObjectStoreUnavailable
from pipeline.ports import ObjectInfo
from pipeline.reconcile import Difference, Finding, LedgerEntry, compare, mending
from pipeline.records import EventKind, Lane
from tests.fakes import NOON

OLD, NEW = NOON - timedelta(hours=1), NOON + timedelta(seconds=1)


def there(key, etag="e", time=OLD):
    return ObjectInfo("uploads", key, 1, etag, time)


def known(key, etag="e", time=OLD):
    return LedgerEntry(key, etag, time)


def differences(objects, entries):
    found = compare("uploads", objects, entries, before=NOON)
    return [(one.finding.value, one.key) if one else None for one in found]


@pytest.mark.parametrize(
    ("objects", "entries", "expected"),
    [
        ([], [], []),
        ([there("a")], [known("a")], [None]),
        ([there("a")], [], [("missing", "a")]),
        ([], [known("a")], [("vanished", "a")]),
        ([there("a", "new")], [known("a", "old")], [("missing", "a")]),  # overwritten, and nobody said so
        ([there("a")], [known("a", None)], [None]),  # an event without an ETag: nothing to compare
        ([there("a", time=NEW)], [], [None]),  # its event may be on its way
        ([], [known("a", time=NEW)], [None]),  # announced after the listing began
        ([there("b"), there("c")], [known("a"), known("c")], [("vanished", "a"), ("missing", "b"), None]),
        ([there("folder/"), there("folder/a")], [known("folder/a")], [None]),  # a folder marker is no object
    ],
)
def test_what_differs(objects, entries, expected):
    assert differences(objects, entries) == expected


keys = st.sets(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=4).filter(lambda key: key[-1] != "/")
)


@given(keys, keys)
def test_any_two_sides(listed, recorded):
    """In the order of the keys' UTF-8 bytes, as S3 lists and Postgres sorts."""
    in_order = [sorted(side, key=str.encode) for side in (listed, recorded)]
    found = differences(map(there, in_order[0]), map(known, in_order[1]))
    assert {one for one in found if one} == {
        *(("missing", key) for key in listed - recorded),
        *(("vanished", key) for key in recorded - listed),
    }
    assert found.count(None) == len(listed & recorded)


def test_what_the_ledger_has_forgotten_is_not_missed():
    old, young = there("a", time=NOON - timedelta(days=9)), there("b", time=NOON - timedelta(days=7))
    found = list(compare("uploads", [old, young], [], before=NOON, since=NOON - timedelta(days=8)))
    assert [one and one.key for one in found] == [None, "b"]


def test_a_side_is_read_no_further_than_the_other_needs():
    """Memory does not grow with a bucket."""
    read = []

    def endless():
        for number in range(10**9):
            read.append(number)
            yield there(f"{number:010}")

    found = compare("uploads", endless(), (known(f"{number:010}") for number in range(10**9)), before=NOON)
    assert [next(found) for _ in range(100)] == [None] * 100
    assert len(read) <= 101


def test_a_server_that_lists_in_another_order_is_not_believed():
    with pytest.raises(ObjectStoreUnavailable, match="order"):
        differences([there("b"), there("a")], [known("a"), known("b")])


def test_the_events_that_mend():
    missing = Difference(Finding.MISSING, "uploads", "a", "e")
    event = mending(missing, seen_at=NOON, surface="posts", lane=Lane.RESCORE)
    assert (event.kind, event.key, event.etag, event.uploaded_at) == (EventKind.CREATED, "a", "e", NOON)
    assert (event.surface, event.lane) == ("posts", Lane.RESCORE)
    vanished = Difference(Finding.VANISHED, "uploads", "a", "e")
    gone = mending(vanished, seen_at=NOON, surface="posts", lane=Lane.BACKFILL)
    assert (gone.kind, gone.etag, gone.version_id) == (EventKind.DELETED, None, None)
    assert gone.event_id != event.event_id
    assert gone.event_id != mending(vanished, seen_at=NEW, surface="posts", lane=Lane.BACKFILL).event_id
