"""Figures about people and model, against libraries and against chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from pipeline.quality import Reviewed, agreement, cohens_kappa, precisions, wilson
from pipeline.records import Label, VerdictKind

tables = st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=3, max_size=3).filter(
    lambda rows: np.sum(rows) > 0
)


@given(tables)
def test_kappa_is_the_librarys(rows):
    pairs = [(first, second) for first in range(3) for second in range(3) for _ in range(rows[first][second])]
    found = cohens_kappa(rows)
    if found.value is None:
        assert len(set(pairs)) == 1, "both always said the same one thing"
    else:
        assert found.value == pytest.approx(cohen_kappa_score(*zip(*pairs, strict=True)), abs=1e-9)
    assert found.count == len(pairs)


@pytest.mark.parametrize(
    "shares",
    [
        [[0.4, 0.1], [0.1, 0.4]],
        [[0.7, 0.05], [0.1, 0.15]],  # one answer is rare
        [[0.3, 0.1, 0.0], [0.05, 0.25, 0.05], [0.05, 0.1, 0.1]],
    ],
)
def test_kappas_error_is_how_far_samples_of_it_scatter(shares):
    shares = np.array(shares)
    rng = np.random.default_rng(1)
    samples = rng.multinomial(400, shares.ravel(), size=4000).reshape(-1, *shares.shape)
    scatter = np.std([cohens_kappa(sample).value for sample in samples])
    assert cohens_kappa(400 * shares).error == pytest.approx(scatter, rel=0.05)


def test_full_agreement_and_none():
    both = {(Label.CAMERA, Label.CAMERA): 20, (Label.NOT_CAMERA, Label.NOT_CAMERA): 20}
    assert (agreement(both).value, agreement(both).error) == (1.0, 0.0)
    crossed = {(Label.CAMERA, Label.NOT_CAMERA): 20, (Label.NOT_CAMERA, Label.CAMERA): 20}
    assert agreement(crossed).value == -1.0
    assert agreement({(Label.CAMERA, Label.CAMERA): 3}).value is None, "chance alone explains it"
    assert agreement({}) is None


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        (0, 0, 0.0, 1.0),  # nothing is known
        (0, 10, 0.0, 0.2775),  # Brown, Cai & DasGupta 2001: z2 / (n + z2)
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (1, 29, 0.0061, 0.1718),  # Newcombe 1998, table I
    ],
)
def test_wilson(hits, of, low, high):
    found = wilson(hits, of)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_precision_counts_only_what_people_could_judge():
    rows = [
        Reviewed("posts", VerdictKind.CAMERA, Label.CAMERA, 90),
        Reviewed("posts", VerdictKind.CAMERA, Label.NOT_CAMERA, 10),
        Reviewed("posts", VerdictKind.CAMERA, None, 5),
        Reviewed("posts", VerdictKind.CAMERA, Label.NOT_APPLICABLE, 2),
        Reviewed("avatars", VerdictKind.NOT_CAMERA, Label.NOT_CAMERA, 3),
    ]
    avatars, posts = precisions(rows)
    assert (avatars.surface, avatars.value) == ("avatars", 1.0)
    assert (posts.right, posts.judged, posts.unjudged, posts.value) == (90, 100, 7, 0.9)
    assert posts.interval.low < 0.9 < posts.interval.high
