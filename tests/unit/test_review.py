"""What decisions make of an item, who counts as a reviewer, and how golden items are dealt."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.records import ItemState, Label
from pipeline.review.decisions import resolve
from pipeline.review.golden import is_golden_turn
from pipeline.review.items import Given
from pipeline.review.queue import name_of

CAMERA, NOT_CAMERA, CANT_TELL, NOT_APPLICABLE = Label
OPEN, DISPUTED, DECIDED = ItemState.OPEN, ItemState.DISPUTED, ItemState.DECIDED


def given(label, number, *, final=False):
    return Given(number, 1, f"r{number}", label, None, "", None, final, datetime(2026, 1, 1, tzinfo=UTC), timedelta(0))


@pytest.mark.parametrize(
    ("labels", "needed", "state", "outcome"),
    [
        ([], 1, OPEN, None),
        ([CAMERA], 1, DECIDED, CAMERA),
        ([NOT_APPLICABLE], 1, DECIDED, NOT_APPLICABLE),
        ([CANT_TELL], 1, DECIDED, CANT_TELL),
        ([CAMERA], 2, OPEN, None),  # a second one is to look
        ([CAMERA, CAMERA], 2, DECIDED, CAMERA),
        ([CAMERA, NOT_CAMERA], 2, DISPUTED, None),
        ([CAMERA, NOT_APPLICABLE], 3, DISPUTED, None),  # a third one would not end it
        ([CAMERA, CANT_TELL], 2, OPEN, None),  # no label: somebody else is asked
        ([CAMERA, CANT_TELL, CAMERA], 2, DECIDED, CAMERA),
        ([CAMERA, CANT_TELL, CANT_TELL], 2, DECIDED, CANT_TELL),
        ([CANT_TELL, CANT_TELL], 2, DECIDED, CANT_TELL),
    ],
)
def test_what_decisions_make_of_an_item(labels, needed, state, outcome):
    assert resolve([given(label, number) for number, label in enumerate(labels)], needed) == (state, outcome)


def test_a_leads_word_is_final():
    said = [given(CAMERA, 1), given(NOT_CAMERA, 2), given(NOT_CAMERA, 3, final=True)]
    assert resolve(said, 2) == (DECIDED, NOT_CAMERA)


@pytest.mark.parametrize("spelling", ["ann", "Ann", "  ANN\t"])
def test_nobody_is_two_reviewers_by_spelling(spelling):
    assert name_of(spelling) == "ann"


@pytest.mark.parametrize("nobody", ["", "  "])
def test_a_decision_needs_a_reviewer(nobody):
    with pytest.raises(ValueError, match="reviewer"):
        name_of(nobody)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_golden_items_come_as_often_as_set_and_not_to_everybody_at_once(share):
    turns = {who: [is_golden_turn(who, last, 7, share) for last in range(4000)] for who in ("ann", "bob")}
    for taken in turns.values():
        assert sum(taken) / 4000 == pytest.approx(share, abs=0.02)
    assert share in {0.0, 1.0} or turns["ann"] != turns["bob"]
    assert turns["ann"] == [is_golden_turn("ann", last, 7, share) for last in range(4000)]
