"""What must hold for whatever arrives, as functions that raise AssertionError where it does not.

One set of promises, tried by Hypothesis (`test_properties.py`), by a coverage-guided fuzzer (`python -m tests.fuzz`),
and on the bytes that once broke one (`test_regressions.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC
from typing import Any

from pipeline.adapters.pillow_exif import PillowExifReader
from pipeline.decode import decode, sniff
from pipeline.errors import InvalidEvent, RejectedUpload
from pipeline.events import dump_event, events_from_s3, parse_event
from pipeline.exif import MAX_WARNINGS, TEXT_LIMIT, exif_facts
from pipeline.provenance import MAX_CLAIMS, find_claims
from pipeline.records import ExifFacts, ProvenanceClaim, UploadEvent
from pipeline.settings import LimitSettings

LIMITS = LimitSettings(max_pixels=1_000_000)

POSTGRES_INDEX_ROW = 2704
"""Bytes of the longest entry of a B-tree; the ledger's unique key is (bucket, object key, identity)."""


UNFIT = re.compile("[\0-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, new lines, overrides of direction, lone surrogates."""


def event(raw: bytes | str) -> None:
    """An event is understood or refused. What is understood can be stored, and is the same once written and read."""
    with suppress(InvalidEvent):
        found = parse_event(raw)
        _storable(found)
        assert parse_event(dump_event(found)) == found


def notification(payload: Any) -> None:
    """So is a notification of S3, whatever JSON it is; delivered again, it is the same events."""
    with suppress(InvalidEvent):
        found = events_from_s3(payload)
        for one in found:
            _storable(one)
        assert [one.event_id for one in events_from_s3(payload)] == [one.event_id for one in found]


def metadata(tags: Mapping[str, Any]) -> None:
    """Any tags become facts and claims that JSON, Postgres, a log line and a page can hold, and not many of them."""
    _presentable(exif_facts(tags, "exiftool"), find_claims(tags))


def image(content: bytes) -> None:
    """Bytes become pixels or are rejected, and what Pillow reads of their metadata is as presentable as any."""
    with suppress(RejectedUpload):
        pixels = decode(content, LIMITS).pixels
        assert pixels.shape[2] == 3
        assert 0 < pixels.shape[0] * pixels.shape[1] <= LIMITS.max_pixels
    format = sniff(content)
    if format:
        facts, tags = PillowExifReader().read(content, format)
        _presentable(facts, find_claims(tags))


def _presentable(facts: ExifFacts, claims: tuple[ProvenanceClaim, ...]) -> None:
    assert len(facts.warnings) <= MAX_WARNINGS
    assert len(claims) <= MAX_CLAIMS
    texts = [*facts.warnings, *(text for claim in claims for text in asdict(claim).values())]
    texts += [value for value in facts.tags.values() if isinstance(value, str)]
    assert all(len(text) <= TEXT_LIMIT and not UNFIT.search(text) for text in texts), texts
    said = json.dumps([dict(facts.tags), texts], allow_nan=False, ensure_ascii=False)
    assert "\0" not in said
    said.encode()


def _storable(found: UploadEvent) -> None:
    for value in found.model_dump().values():
        if isinstance(value, str):
            assert "\0" not in value
            value.encode()
    found.uploaded_at.astimezone(UTC)  # Postgres gives it back in UTC: the year must still be one that Python knows
    indexed = (found.bucket, found.key, found.identity)
    assert sum(len(value.encode()) for value in indexed) < POSTGRES_INDEX_ROW - 64
