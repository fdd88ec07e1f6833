"""Tags, class maps and losses of the pretext task."""

import math

import numpy as np
import pytest
import torch

from pipeline.encoder.pretext import (
    ORDER,
    Tag,
    choose_tags,
    classification_loss,
    labels,
    pretext_loss,
    ranking_loss,
    tag_accuracies,
)


def test_the_kinds_stand_where_the_authors_heads_have_them():
    classes = [number for number, (_, kind) in enumerate(ORDER, 1) if kind == "class"]
    assert classes == [2, 6, 7, 10, 11, 12, 14]
    assert len(ORDER) == 14


def test_classes_are_the_frequent_values_most_frequent_first():
    photographs = [{"Make": "B"}] * 9 + [{"Make": "A"}] * 20 + [{"Make": "rare"}] * 7 + [{}]
    make = choose_tags(photographs)[1]
    assert make == Tag("Make", "class", ("A", "B"))
    assert make.size == 2


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Make", "Canon", 1),
        ("Make", "unheard of", math.nan),
        ("Make", None, math.nan),
        ("FNumber", "4", 2.0),  # stops
        ("FNumber", "1.80000000242677", 0.8),  # a tie with 1.8
        ("FNumber", "1.8", 0.8),
        ("FNumber", "0", math.nan),  # unknown
        ("ExposureTime", "1/8", -3.0),
        ("BrightnessValue", "-1.52", -1.5),
        ("BrightnessValue", "undef", math.nan),
        ("BrightnessValue", "0/0", math.nan),
        ("ExposureCompensation", "0", 0.0),
    ],
)
def test_label(name, text, expected):
    tag = Tag("Make", "class", ("Apple", "Canon")) if name == "Make" else Tag(name, "rank")
    found = labels([tag], [{} if text is None else {name: text}])
    np.testing.assert_allclose(found, [[expected]], rtol=1e-6)


def test_ranking_loss_is_thurstones():
    scores, values = torch.tensor([[1.0], [0.0]]), torch.tensor([5.0, 2.0])
    # both ordered pairs say the same: -log Phi(1 / sqrt 2)
    assert ranking_loss(scores, values).item() == pytest.approx(0.2746, abs=1e-3)
    assert ranking_loss(-scores, values) > ranking_loss(scores, values)


def test_one_partner_is_the_next_image_of_the_batch():
    scores, values = torch.tensor([[0.0], [3.0], [1.0]]), torch.tensor([1.0, 2.0, 3.0])
    alone = [ranking_loss(scores[[a, b]], values[[a, b]]) for a, b in ((0, 1), (1, 2), (2, 0))]
    # an ordered pair and its reverse say the same here, so each partner counts like the pair on its own
    torch.testing.assert_close(ranking_loss(scores, values, all_pairs=False), torch.stack(alone).mean())
    unknown = torch.tensor([1.0, 2.0, math.nan])
    torch.testing.assert_close(ranking_loss(scores, unknown, all_pairs=False), alone[0])
    assert ranking_loss(scores[:1], values[:1], all_pairs=False) == 0


def test_a_tie_is_best_answered_by_equal_scores():
    scores = torch.zeros(2, 1, requires_grad=True)
    ranking_loss(scores, torch.tensor([3.0, 3.0])).backward()
    assert scores.grad.abs().max() < 1e-7
    assert ranking_loss(torch.tensor([[1.0], [0.0]]), torch.tensor([3.0, 3.0])) > ranking_loss(scores, torch.zeros(2))


def test_missing_values_carry_no_loss():
    scores = torch.randn(3, 2, requires_grad=True)
    ranking_loss(scores, torch.tensor([1.0, math.nan, 2.0])).backward()
    assert not scores.grad[1].any()
    assert scores.grad[0].all()
    logits = torch.randn(2, 3, 4, requires_grad=True)
    classification_loss(logits, torch.tensor([math.nan, 2.0])).backward()
    assert not logits.grad[0].any()
    assert classification_loss(logits, torch.tensor([math.nan, math.nan])) == 0


def test_one_photograph_alone_has_nothing_to_be_ranked_with():
    assert ranking_loss(torch.randn(1, 2), torch.tensor([1.0])) == 0


def test_pretext_loss_sums_the_heads_each_on_its_own_outputs():
    tags = [Tag("FNumber", "rank"), Tag("Make", "class", ("A", "B"))]
    outputs = torch.randn(4, 3, 3)
    targets = torch.tensor([[1.0, 0], [2, 1], [3, 0], [4, math.nan]])
    expected = ranking_loss(outputs[:, :, 0], targets[:, 0]) + classification_loss(outputs[:, :, 1:], targets[:, 1])
    torch.testing.assert_close(pretext_loss(outputs, targets, tags), expected)


def test_accuracies():
    tags = [Tag("FNumber", "rank"), Tag("Make", "class", ("A", "B"))]
    targets = torch.tensor([[1.0, 0], [2, 0], [3, 1], [math.nan, math.nan]])
    outputs = torch.tensor([[0.0, 1, 0], [2, 1, 0], [1, 1, 0], [9, 9, 9]])  # one pair of three is in the wrong order
    found = tag_accuracies(outputs, targets, tags)
    assert found["FNumber"] == {"images": 3, "accuracy": 0.6667, "majority": 0.5}
    assert found["Make"] == {"images": 3, "accuracy": 0.6667, "majority": 0.6667}
    assert tag_accuracies(outputs[3:], targets[3:], tags) == {}
