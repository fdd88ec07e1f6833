"""The promises of `targets.py` under Hypothesis, for seconds; `make fuzz` tries them for minutes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import mutations, seeds, targets

ANY_TEXT = st.text(st.characters(), max_size=300)
"""Lone surrogates and NUL included."""
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4), max_leaves=8
)
TIMES = st.datetimes(timezones=st.timezones()).map(lambda time: time.isoformat()) | st.sampled_from(
    ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-01-02T03:04:05", "1e300"]
)
LONG = st.builds(lambda text, times: text * times, ANY_TEXT, st.integers(1, 2000))


def edited(template: Any) -> st.SearchStrategy[Any]:
    """The template, with parts of it replaced or left out."""
    if isinstance(template, dict):
        parts = {name: st.none() | st.just(value) | edited(value) for name, value in template.items()}
        return st.fixed_dictionaries({}, optional=parts) | ANY_JSON
    if isinstance(template, list):
        return st.tuples(*map(edited, template)).map(list) | ANY_JSON
    return st.just(template) | SCALARS | LONG | TIMES


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400) | ANY_TEXT | edited(seeds.EVENT).map(json.dumps))
def test_events(raw: bytes | str):
    targets.event(raw)


@settings(max_examples=200, deadline=None)
@given(edited({"Records": [seeds.RECORD, seeds.RECORD]}) | edited(seeds.EVENT_BRIDGE) | ANY_JSON)
def test_notifications(payload: Any):
    targets.notification(payload)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(seeds.TAG_NAMES) | ANY_TEXT, ANY_JSON | LONG, max_size=8))
def test_metadata(tags: dict[str, Any]):
    targets.metadata(tags)
    targets.metadata({f"{name}DigitalSourceType": value for name, value in tags.items()})


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(seeds.pictures()), st.randoms(use_true_random=False), st.integers(1, 4))
def test_images(content: bytes, random: Any, edits: int):
    for _ in range(edits):
        content = mutations.mutate(content, random)
    targets.image(content)
