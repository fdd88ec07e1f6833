"""The door under load with Redis killed, in short; `python -m tests.chaos.hook` does it at length."""

import pytest

from tests.chaos.hook import BACK, DOWN, UP, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_nothing_acknowledged_is_lost_and_everything_else_is_refused():
    rows = {row.phase: row for row in run(rate=100, seconds=4, outage=2, web_processes=2)}
    assert list(rows) == [UP, DOWN, BACK]
    assert [row.lost for row in rows.values()] == [0, 0, 0]
    assert [row.other for row in rows.values()] == ["", "", ""]
    assert rows[UP].acknowledged > 0
    assert rows[BACK].acknowledged == rows[BACK].sent
    assert rows[DOWN].refused > 0
