"""What the doors let in."""

import contextlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidEvent
from pipeline.events import dump_event, events_from_s3, parse_event
from pipeline.records import EventKind, Lane, Moment, UploadEvent

MINIMAL = {"event_id": "e1", "bucket": "uploads", "key": "a/b.jpg", "uploaded_at": "2026-01-02T12:00:00Z"}

AWS_RECORD = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "eventTime": "2026-01-02T12:00:00.000Z",
    "eventName": "ObjectCreated:Put",
    "s3": {
        "bucket": {"name": "uploads", "arn": "arn:aws:s3:::uploads"},
        "object": {
            "key": "summer+2025/caf%C3%A9%2B1.jpg",
            "size": 1024,
            "eTag": "d41d8cd98f00b204e9800998ecf8427e",
            "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
            "sequencer": "0055AED6DCD90281E5",
        },
    },
}

EVENT_BRIDGE = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "time": "2026-01-02T12:00:00Z",
    "detail": {
        "version": "0",
        "bucket": {"name": "uploads"},
        "object": {
            "key": "plain+key.jpg",
            "size": 5,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "sequencer": "617f08299329d189",
        },
        "reason": "PutObject",
    },
}


def test_a_minimal_event_has_defaults():
    event = parse_event(json.dumps(MINIMAL))
    assert (event.surface, event.lane, event.identity) == ("default", Lane.LIVE, "event:e1")


@pytest.mark.parametrize(
    "change",
    [
        {"bucket": ""},
        {"key": "x" * 1025},
        {"uploaded_at": "2026-01-02T12:00:00"},  # no time zone
        {"uploaded_at": "yesterday"},
        {"surface": "../etc"},
        {"callback": "https://evil.example/hook"},  # a name, never a URL
        {"lane": "express"},
        {"schema_version": 2},
        {"sequencer": "xyz"},
        {"url": "http://169.254.169.254/"},  # no field of ours
        {"key": "a\0b"},  # Postgres refuses NUL
        {"uploader_id": "\0"},
    ],
)
def test_an_event_that_breaks_the_schema_is_invalid(change):
    with pytest.raises(InvalidEvent):
        parse_event(json.dumps(MINIMAL | change))


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 5000, b'"' + b"x" * 100_000 + b'"'])
def test_what_is_no_event_is_invalid(raw):
    with pytest.raises(InvalidEvent):
        parse_event(raw)


def test_the_reason_names_the_field_and_not_its_value():
    with pytest.raises(InvalidEvent, match=r"^lane: ") as caught:
        parse_event(json.dumps(MINIMAL | {"lane": "secret-value"}))
    assert "secret-value" not in str(caught.value)


EVENTS = st.builds(
    UploadEvent,
    event_id=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=50),
    bucket=st.just("uploads"),
    key=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=50),
    version_id=st.none() | st.just("v1"),
    uploaded_at=st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bound only
    lane=st.sampled_from(Lane),
    kind=st.sampled_from(EventKind),
)


def test_an_upload_is_said_as_before_there_were_deletions():
    """So a door that is newer than its consumer does no harm."""
    assert json.loads(dump_event(parse_event(json.dumps(MINIMAL)))) == MINIMAL


@given(EVENTS)
def test_events_survive_the_stream(event):
    assert parse_event(dump_event(event)) == event


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_an_event_or_invalid(raw):
    with contextlib.suppress(InvalidEvent):
        assert isinstance(parse_event(raw), UploadEvent)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*sorted(MINIMAL), "lane", "sequencer", "etag"]), JSON))
def test_any_fields_are_an_event_or_invalid(fields):
    with contextlib.suppress(InvalidEvent):
        assert isinstance(parse_event(json.dumps(MINIMAL | fields)), UploadEvent)


def test_aws_record():
    [event] = events_from_s3({"Records": [AWS_RECORD]})
    assert event.key == "summer 2025/café+1.jpg"
    assert event.version_id == "096fKKXTRTtl3on89fVO.nfljtsv6qko"
    assert event.etag == "d41d8cd98f00b204e9800998ecf8427e"
    assert event.sequencer == "0055AED6DCD90281E5"
    assert event.uploaded_at == datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert (event.surface, event.lane) == ("default", Lane.LIVE)


def test_event_bridge_keys_are_not_url_encoded():
    [event] = events_from_s3(EVENT_BRIDGE)
    assert event.key == "plain+key.jpg"
    assert event.version_id == "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"
    assert event.etag == "b1946ac92492d2347c6235b4d2611184"


def test_minio_prefixes_the_event_name_and_may_send_null_as_version():
    record = json.loads(json.dumps(AWS_RECORD)) | {"eventName": "s3:ObjectCreated:CompleteMultipartUpload"}
    record["s3"]["object"]["versionId"] = "null"
    [event] = events_from_s3({"EventName": "s3:ObjectCreated:Put", "Key": "uploads/x", "Records": [record]})
    assert event.version_id is None


def test_the_same_notification_is_the_same_event_and_another_object_another():
    def event_id(**change: str) -> str:
        record = json.loads(json.dumps(AWS_RECORD))
        record["s3"]["object"] |= change
        return events_from_s3({"Records": [record]})[0].event_id

    assert event_id() == event_id()
    assert len({event_id(), event_id(versionId="other"), event_id(sequencer="AA"), event_id(key="other")}) == 4


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("ObjectRemoved:Delete", "of the object"),  # that version, for ever; or, without one, whatever the key held
        ("s3:ObjectRemoved:Delete", "of the object"),
        ("ObjectRemoved:DeleteMarkerCreated", None),  # the version is the marker's, which is nobody's
        ("LifecycleExpiration:Delete", "of the object"),
        ("LifecycleExpiration:DeleteMarkerCreated", None),
    ],
)
def test_a_record_of_a_deletion(name, version):
    record = json.loads(json.dumps(AWS_RECORD)) | {"eventName": name}
    record["s3"]["object"]["versionId"] = "of the object"
    [event] = events_from_s3({"Records": [record]})
    assert (event.kind, event.version_id) == (EventKind.DELETED, version)
    assert (event.key, event.sequencer) == ("summer 2025/café+1.jpg", "0055AED6DCD90281E5")
    assert event.event_id != events_from_s3({"Records": [AWS_RECORD]})[0].event_id


@pytest.mark.parametrize(
    ("kind", "version"), [("Permanently Deleted", "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e"), ("Delete Marker Created", None)]
)
def test_a_deletion_on_event_bridge(kind, version):
    detail = EVENT_BRIDGE["detail"] | {"deletion-type": kind}
    [event] = events_from_s3(EVENT_BRIDGE | {"detail-type": "Object Deleted", "detail": detail})
    assert (event.kind, event.key, event.version_id) == (EventKind.DELETED, "plain+key.jpg", version)


def test_two_deletions_of_one_key_are_two_events_also_without_a_sequencer():
    def event_id(time):
        record = AWS_RECORD | {"eventName": "ObjectRemoved:Delete", "eventTime": time}
        record["s3"] = {"bucket": {"name": "uploads"}, "object": {"key": "a.jpg"}}
        return events_from_s3({"Records": [record]})[0].event_id

    assert event_id("2026-01-02T12:00:00Z") == event_id("2026-01-02T12:00:00Z") != event_id("2026-01-02T12:00:01Z")


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        (("02", 0), ("01", 5)),  # the sequencer decides, whatever the clocks say
        (("A", 0), ("09", 0)),  # padded on the right: A0 > 09
        (("0a", 0), ("09FF", 0)),
        (("01", 2), (None, 1)),  # one of them has none: the time
        ((None, 2), (None, 1)),
    ],
)
def test_what_came_later(later, earlier):
    one, other = (
        Moment(sequencer, datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)) for sequencer, second in (later, earlier)
    )
    assert one.follows(other)
    assert not other.follows(one)
    assert not one.follows(one)


@pytest.mark.parametrize(
    "payload",
    [
        {"Records": []},
        {"Records": [AWS_RECORD | {"eventName": "s3:ObjectAccessed:Get"}]},
        {"Records": [AWS_RECORD | {"eventName": "ObjectTagging:Put"}]},
        EVENT_BRIDGE | {"detail-type": "Object Tags Added"},
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "uploads"},
    ],
)
def test_other_happenings_give_no_event(payload):
    assert events_from_s3(payload) == []


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"Records": None},
        {"Records": [{}]},
        {"Records": [AWS_RECORD | {"s3": {"bucket": {"name": "uploads"}, "object": {"key": "%FF%FE"}}}]},  # not UTF-8
        {"Records": [AWS_RECORD | {"s3": {"bucket": {"name": "uploads"}, "object": {"key": "a%00b"}}}]},
        {"Records": [AWS_RECORD | {"eventTime": "soon"}]},
        EVENT_BRIDGE | {"detail": "x"},
    ],
)
def test_a_notification_that_names_no_object_is_invalid(payload):
    with pytest.raises(InvalidEvent):
        events_from_s3(payload)


@given(
    st.dictionaries(st.sampled_from(["Records", "detail", "detail-type", "source", "time"]), JSON)
    | st.builds(
        lambda record: {"Records": [AWS_RECORD | record]},
        st.dictionaries(st.sampled_from(["s3", "eventTime", "eventName"]), JSON),
    )
    | st.builds(
        lambda detail: EVENT_BRIDGE | {"detail": detail}, st.dictionaries(st.sampled_from(["bucket", "object"]), JSON)
    )
)
def test_any_notification_gives_events_or_is_invalid(payload):
    with contextlib.suppress(InvalidEvent):
        assert all(isinstance(event, UploadEvent) for event in events_from_s3(payload))
