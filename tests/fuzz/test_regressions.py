"""What fuzzing found once, in its smallest form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import InvalidEvent
from pipeline.events import events_from_s3, parse_event
from pipeline.exif import MAX_WARNINGS, TEXT_LIMIT, exif_facts
from pipeline.provenance import MAX_CLAIMS, find_claims
from tests.fuzz import seeds, targets


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "ä" * 1000),  # 1,000 characters, but 2,000 bytes: with `version_id` over what Postgres can index
        ("version_id", "字" * 400),
        ("bucket", "ä" * 200),
        ("uploaded_at", "9999-12-31T23:59:59-01:00"),  # the year 10000 in UTC, which Python cannot read back
        ("uploaded_at", "0001-01-01T00:00:00+01:00"),
    ],
)
def test_an_event_that_postgres_cannot_hold_is_refused(field: str, value: str):
    with pytest.raises(InvalidEvent, match=field):
        parse_event(json.dumps({**seeds.EVENT, field: value}))


def test_so_is_a_notification():
    stored = {"key": "%E5%AD%97" * 400}
    record = {**seeds.RECORD, "s3": {"bucket": {"name": "uploads"}, "object": stored}}
    with pytest.raises(InvalidEvent, match="key"):
        events_from_s3({"Records": [record]})


@pytest.mark.parametrize("name", ["XMP:\0\x1b[31m\u202eDigitalSourceType", "XMP:" + "x" * 1000 + "DigitalSourceType"])
def test_the_name_of_a_tag_is_not_trusted_either(name: str):
    targets.metadata({name: "digitalCapture"})  # the second one is cut
    assert len(find_claims({name: "digitalCapture"})[0].found_in) <= TEXT_LIMIT


@pytest.mark.parametrize("label", ["JUMBF:JUMDLabel\r\n1", "JUMBF:JUMDLabel" + "9" * 300])
def test_nor_is_that_of_a_label(label: str):
    targets.metadata({label: "c2pa"})


def test_a_file_that_repeats_itself_fills_no_row():
    many: dict[str, Any] = {f"XMP:{number}DigitalSourceType": "x" for number in range(1000)}
    assert len(find_claims(many)) == MAX_CLAIMS
    assert len(exif_facts({}, "pillow", ("broken",) * 1000).warnings) == MAX_WARNINGS
