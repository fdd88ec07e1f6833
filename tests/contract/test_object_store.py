"""The port `ObjectStore`: the same tests for the fake and for boto3 talking to a real server."""

import time

import pytest

from pipeline.adapters.s3 import S3ObjectStore
from pipeline.errors import ObjectStoreUnavailable, RejectedUpload, RejectReason
from pipeline.settings import S3Settings
from tests.fakes import FakeObjectStore
from tests.servers import settings_for
from workers.local.processes import free_port

BUCKET = "contract"


@pytest.fixture(params=["fake", "s3"])
def store(request):
    if request.param == "fake":
        store = FakeObjectStore()
    else:
        store = S3ObjectStore(settings_for(request.getfixturevalue("s3_server")).s3)
    store.ensure_bucket(BUCKET)
    return store


def reason(store, key, **options):
    with pytest.raises(RejectedUpload) as caught:
        store.get(BUCKET, key, **{"max_bytes": 100, **options})
    return caught.value.reason


@pytest.mark.parametrize(
    "key", ["a.jpg", "folder/b.jpg", "with space+plus.jpg", "ünï/名前 🐱.jpg", "a'b\"c&d=e?f#g.jpg"]
)
def test_what_was_put_is_got(store, key):
    etag = store.put(BUCKET, key, b"content", content_type="image/jpeg")
    assert etag
    assert '"' not in etag
    assert store.get(BUCKET, key, max_bytes=7) == b"content"


def test_a_second_put_replaces(store):
    store.put(BUCKET, "twice", b"old")
    store.put(BUCKET, "twice", b"new")
    assert store.get(BUCKET, "twice", max_bytes=100) == b"new"


def test_what_was_deleted_is_gone_and_deleting_it_again_is_no_error(store):
    store.put(BUCKET, "gone", b"x")
    for _ in range(2):
        store.delete(BUCKET, "gone")
    assert reason(store, "gone") is RejectReason.OBJECT_MISSING
    assert [found.key for found in store.list_objects(BUCKET, "gone")] == []


def test_the_size_cap(store):
    store.put(BUCKET, "large", b"x" * 101)
    assert reason(store, "large") is RejectReason.TOO_LARGE
    assert len(store.get(BUCKET, "large", max_bytes=101)) == 101


def test_a_missing_object(store):
    assert reason(store, "never/was") is RejectReason.OBJECT_MISSING


def test_a_missing_version(store):
    store.put(BUCKET, "unversioned", b"x")
    assert reason(store, "unversioned", version_id="3Lg4nhqkLkVB9GGDrTS2JPRkVAvOUnzM") is RejectReason.OBJECT_MISSING


def test_a_missing_bucket_is_a_fault_of_ours_not_of_the_upload(store):
    with pytest.raises(ObjectStoreUnavailable):
        store.get("no-such-bucket", "x", max_bytes=1)


def test_listing_under_a_prefix(store):
    for number in range(3):
        store.put(BUCKET, f"listing/{number}.jpg", b"x" * number)
    store.put(BUCKET, "listing-not/4.jpg", b"")
    found = sorted(store.list_objects(BUCKET, "listing/"), key=lambda info: info.key)
    assert [(info.key, info.size) for info in found] == [(f"listing/{number}.jpg", number) for number in range(3)]
    assert all(info.last_modified.tzinfo and info.etag and info.bucket == BUCKET for info in found)


def test_a_bucket_is_made_once(store):
    store.put(BUCKET, "kept", b"x")
    store.ensure_bucket(BUCKET)
    assert store.get(BUCKET, "kept", max_bytes=1) == b"x"


def test_a_server_that_is_away_is_reported_soon():
    settings = S3Settings(
        endpoint_url=f"http://127.0.0.1:{free_port()}", access_key_id="a", secret_access_key="b", connect_timeout=1
    )
    store = S3ObjectStore(settings)
    started = time.monotonic()
    for call in (
        lambda: store.get(BUCKET, "x", max_bytes=1),
        lambda: store.put(BUCKET, "x", b""),
        lambda: list(store.list_objects(BUCKET)),
        lambda: store.ensure_bucket(BUCKET),
    ):
        with pytest.raises(ObjectStoreUnavailable):
            call()
    assert time.monotonic() - started < 20


def test_a_store_that_drips_is_away_before_the_task_ends(s3_server):
    settings = settings_for(s3_server).s3.model_copy(update={"download_timeout": 1e-6})
    store = S3ObjectStore(settings)
    store.ensure_bucket(BUCKET)
    store.put(BUCKET, "slow", b"x" * 100_000)
    with pytest.raises(ObjectStoreUnavailable, match=r"only 65536 bytes in 1e-06 s"):
        store.get(BUCKET, "slow", max_bytes=1_000_000)
