"""What a card says in words, row by row."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.evidence import CurrentVerdict, Findings
from pipeline.records import ExifPrediction, SurfacePolicy, Upload, UploadState, VerdictKind
from tests.factories import make_event, make_score
from tests.fakes import MODEL
from workers.web.desk import words

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = Upload(1, make_event(), UploadState.DONE, attempts=1, received_at=NOW, queued_at=NOW)
FOUND = Findings(UPLOAD, None, None, None, None, None, (), (), (), (), ())
HANDLED = (ExifPrediction("Handling", "handled", 0.9, None, None),)
SOFT = (ExifPrediction("Handling", "soft", 0.9, None, None),)


def found(p_value=None, kind=VerdictKind.CAMERA, reason="", predictions=HANDLED, **score):
    verdict = CurrentVerdict(kind, reason, SurfacePolicy(not_camera_fpr=0.02, unsure_fpr=0.10), MODEL, NOW)
    score = None if p_value is None else make_score(p_value=p_value, exif_predictions=predictions, **score)
    return replace(FOUND, verdict=verdict, score=score)


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (FOUND, "No verdict yet"),
        (found(0.42), "many of the photographs we know: of 1,000 photographs handled like this one, about 420 look"),
        (found(0.42, predictions=()), "of 1,000 photographs taken by cameras, about 420 look"),  # an older release
        (found(0.034), "few of the photographs we know: of 1,000 photographs handled like this one, about 34 look"),
        (found(0.02), "hardly any of the photographs we know: "),
        (found(0.001), "about one looks at least as strange"),
        (found(0.3, reason="too_soft_to_tell", predictions=SOFT), "Too soft to tell"),
        (
            found(0.3, reason="sizes_disagree", half_size_p_value=0.01),
            "Strange at one size alone: of 1,000 photographs handled like this one, about 300 look at least as strange;"
            " at half the size, about 10 look so.",
        ),
        (
            found(0.05, full_size_p_value=0.005, half_size_p_value=0.05),
            "hardly any of the photographs we know: of 1,000 photographs handled like this one, about 5 look at least"
            " as strange; at half the size, about 50 look so.",
        ),
        (found(0.05, half_size_p_value=0.5), "about 50 look at least as strange."),
        (found(kind=VerdictKind.NOT_APPLICABLE, reason="graphic"), "Text, a screenshot, a chart or a drawing"),
        (found(kind=VerdictKind.REJECTED, reason="object_missing"), "could not be looked at: object missing"),
    ],
)
def test_one_sentence_says_what_it_is(evidence, said):
    assert said in words.sentence(evidence)


def test_a_strict_surface_makes_no_image_strange():
    evidence = found(0.56, VerdictKind.UNSURE)
    strict = replace(evidence.verdict, policy=SurfacePolicy(not_camera_fpr=0.02, unsure_fpr=0.60))
    assert "many of the photographs we know" in words.sentence(replace(evidence, verdict=strict))


@pytest.mark.parametrize(
    ("p_value", "predictions", "said"),
    [
        (0.0340, HANDLED, ["not_camera if .* at least 3.4 %", "camera if .* at most 3.3 %"]),
        (0.0341, HANDLED, ["not_camera if .* at least 3.5 %", "camera if .* at most 3.4 %"]),  # never one that misses
        (0.2, HANDLED, ["not_camera if .* at least 20.0 %", "unsure if .* at least 20.0 %"]),
        (0.01, HANDLED, ["no longer be not_camera if .* at most 0.9 %"]),
        (0.2, SOFT, ["not_camera if .* at least 20.0 %", "No threshold makes it camera"]),
    ],
)
def test_what_other_thresholds_would_do(p_value, predictions, said):
    moves = words.moves(found(p_value, predictions=predictions))
    assert len(moves) == len(said)
    assert all(re.search(pattern, move) for pattern, move in zip(said, moves, strict=True))


def test_no_threshold_makes_camera_what_is_strange_at_half_the_size():
    _, move = words.moves(found(0.2, half_size_p_value=0.02))
    assert move == "No threshold makes it camera: images that are strange at one size alone are never called so."


def test_a_head_that_guesses_speaks_against_nothing():
    prediction = ExifPrediction("Make", "Canon", 0.9, "NIKON", 0.01)
    [against] = words.claims([prediction])
    [guess] = words.claims([replace(prediction, is_informed=False)])
    assert (against.agreement, guess.agreement) == ("speaks against it", "the network guesses")


def test_nothing_moves_what_has_no_score():
    assert words.moves(found(kind=VerdictKind.REJECTED)) == []


@pytest.mark.parametrize(
    ("claimed", "claimed_probability", "agreement"),
    [
        (None, None, "nothing claimed"),
        ("Sony", None, "unknown to the network"),  # none of its classes
        ("Canon", 0.75, "agrees"),
        ("NIKON", 0.05, "speaks against it"),
        ("NIKON", 0.2, "undecided"),
    ],
)
def test_a_claim_is_held_against_the_pixels(claimed, claimed_probability, agreement):
    [claim] = words.claims([ExifPrediction("Make", "Canon", 0.75, claimed, claimed_probability), *HANDLED])
    assert claim.agreement == agreement


@pytest.mark.parametrize(
    ("tag", "value", "said"),
    [
        ("Flash", 16, "off"),
        ("Flash", 99, "99"),
        ("ExposureTime", 0.004, "1/250 s"),
        ("ExposureTime", 2, "2"),
        ("FNumber", 2.799999, "2.8"),
        ("Make", "Canon", "Canon"),
    ],
)
def test_numbers_of_a_header_are_said_in_words(tag, value, said):
    assert words.exif_value(tag, value) == said
