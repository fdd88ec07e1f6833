"""SECURITY.md claims nothing that no test shows: each test that it names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)))


@pytest.mark.parametrize(("path", "test"), NAMED)
def test_a_named_test_exists(path, test):
    assert f"def {test}(" in (ROOT / path).read_text() if test else (ROOT / path).is_file()


def test_every_threat_names_what_shows_its_defence():
    table = TEXT.partition("## Threats")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 15
    assert [row[1].strip() for row in rows if "`tests/" not in row[3] and "`make audit`" not in row[3]] == []
