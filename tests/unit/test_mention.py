"""What counts as naming the erased. `tests/integration/test_erasure.py` asks Postgres the same."""

from __future__ import annotations

import json

import pytest

from pipeline.mention import Terms

SHA = "ab" * 32

CASES = [
    # names, as whole words
    (Terms(names=frozenset({"erin-7"})), "erin-7", True),
    (Terms(names=frozenset({"erin-7"})), '{"uploader_id": "erin-7"}', True),
    (Terms(names=frozenset({"erin-7"})), "asked about erin-7.", True),
    (Terms(names=frozenset({"erin-7"})), "erin-70 and terin-7 and erin-7-b", False),
    (Terms(names=frozenset({"erin-7"})), "erin-7/cat.jpg", False),  # a folder of that name, not the uploader
    (Terms(names=frozenset({"a.jpg"})), "a.jpg.bak", False),
    (Terms(names=frozenset({"a.jpg"})), "photos/a.jpg", False),  # another object
    (Terms(names=frozenset({"auth0|5 (x)?"})), "user auth0|5 (x)? left", True),
    (Terms(names=frozenset({"名前"})), "uploader 名前", True),
    # digits only: whole strings, as numbers abound
    (Terms(names=frozenset({"7"})), '{"count": 7, "at": "17"}', False),
    (Terms(names=frozenset({"7"})), '{"uploader_id": "7"}', True),
    # strings, however deep JSON wraps them
    (Terms(strings=frozenset({"my photo.jpg"})), json.dumps({"key": "my photo.jpg"}), True),
    (Terms(strings=frozenset({"my photo.jpg"})), json.dumps({"e": json.dumps({"key": "my photo.jpg"})}), True),
    (Terms(strings=frozenset({"ü.jpg"})), json.dumps({"key": "ü.jpg"}), True),
    (Terms(strings=frozenset({"my photo.jpg"})), json.dumps({"key": "x/my photo.jpg"}), False),
    # hashes, anywhere
    (Terms(hashes=frozenset({SHA})), f"derived/{SHA}/thumb", True),
    (Terms(hashes=frozenset({SHA})), f"derived/{'cd' * 32}/thumb", False),
    # nothing to look for
    (Terms(), "erin-7", False),
]


@pytest.mark.parametrize(("terms", "text", "named"), CASES)
def test_what_names_it(terms, text, named):
    assert terms.found_in(text) is named
