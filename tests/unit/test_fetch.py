"""Which bytes an event stands for."""

import hashlib

import pytest

from pipeline.errors import ObjectStoreUnavailable, RejectedUpload, RejectReason
from pipeline.fetch import fetch
from pipeline.records import UploadEvent
from pipeline.settings import LimitSettings
from tests.fakes import NOON, FakeObjectStore

LIMITS = LimitSettings(max_bytes=10)
STORE = FakeObjectStore({"uploads": {"small": b"12345", "large": b"x" * 11}})


def event(key: str, **fields: str) -> UploadEvent:
    return UploadEvent(event_id="e", bucket="uploads", key=key, uploaded_at=NOON, **fields)


def test_bytes_and_digest():
    stored = fetch(STORE, event("small"), LIMITS)
    assert stored.content == b"12345"
    assert stored.sha256 == hashlib.sha256(b"12345").hexdigest()


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (event("gone"), RejectReason.OBJECT_MISSING),
        (event("large"), RejectReason.TOO_LARGE),
        (event("small", version_id="v1"), RejectReason.OBJECT_CHANGED),  # the bucket has no such version any more
    ],
)
def test_rejections(wanted, reason):
    with pytest.raises(RejectedUpload) as caught:
        fetch(STORE, wanted, LIMITS)
    assert caught.value.reason is reason


def test_an_overwritten_object_is_judged_as_it_is_now():
    assert fetch(STORE, event("small", etag="0123456789abcdef"), LIMITS).content == b"12345"


def test_a_store_that_is_down_is_worth_another_try():
    with pytest.raises(ObjectStoreUnavailable):
        fetch(FakeObjectStore(down=True), event("small"), LIMITS)
