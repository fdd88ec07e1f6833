"""Who counts as a reviewer."""

import pytest

from pipeline.records import Label
from pipeline.review import decide


class Recorder:
    def __init__(self):
        self.said = []

    def decide(self, item_id, *, reviewer, label, note):
        self.said.append((item_id, reviewer, label, note))
        return len(self.said)


@pytest.mark.parametrize("spelling", ["ann", "Ann", "  ANN\t"])
def test_nobody_is_two_reviewers_by_spelling(spelling):
    reviews = Recorder()
    assert decide(reviews, 7, reviewer=spelling, label=Label.CAMERA, note=" grain ") == 1
    assert reviews.said == [(7, "ann", "camera", "grain")]


@pytest.mark.parametrize("nobody", ["", "  "])
def test_a_decision_needs_a_reviewer(nobody):
    reviews = Recorder()
    with pytest.raises(ValueError, match="reviewer"):
        decide(reviews, 7, reviewer=nobody, label=Label.NOT_CAMERA)
    assert reviews.said == []
