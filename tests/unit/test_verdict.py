"""The verdict table."""

import numpy as np
import pytest

from pipeline.errors import RejectReason
from pipeline.read_out import tell_handling
from pipeline.records import Examination, Handling, Interval, NotApplicableReason, Score, SurfacePolicy, VerdictKind
from pipeline.settings import PolicySettings, Settings
from pipeline.verdict import decide, policy_for


def scored(p_value: float, handling: Handling = Handling.AS_MADE) -> Examination:
    told = tell_handling(np.where(np.arange(len(Handling)) == handling, 0.9, 0.05))
    score = Score(-1.0, 50.0, Interval(45, 55), 0.1, 0.0, p_value, (), (), (told,))
    return Examination("00", 1, score=score)


@pytest.mark.parametrize(
    ("examination", "kind"),
    [
        (scored(0.001), VerdictKind.NOT_CAMERA),
        (scored(0.02), VerdictKind.NOT_CAMERA),  # the promise is "at most", so the border belongs to it
        (scored(0.0201), VerdictKind.UNSURE),
        (scored(0.1), VerdictKind.UNSURE),
        (scored(0.1001), VerdictKind.CAMERA),
        (scored(1.0), VerdictKind.CAMERA),
        (scored(1.0, Handling.HANDLED), VerdictKind.CAMERA),
        (scored(1.0, Handling.SOFT), VerdictKind.UNSURE),  # a blurred picture shows no camera
        (scored(0.02, Handling.SOFT), VerdictKind.NOT_CAMERA),  # among blurred photographs it is strange all the same
        (Examination("00", 1, rejected=RejectReason.TRUNCATED), VerdictKind.REJECTED),
        (Examination("00", 1, not_applicable=NotApplicableReason.FLAT), VerdictKind.NOT_APPLICABLE),
    ],
)
def test_verdict(examination, kind):
    assert decide(examination, SurfacePolicy()).kind is kind


def test_outcome_without_a_score_names_its_reason():
    assert decide(Examination("00", 1, rejected=RejectReason.EMPTY), SurfacePolicy()).reason == "empty"


def test_an_examination_without_outcome_is_a_bug():
    with pytest.raises(ValueError, match="score"):
        decide(Examination("00", 1), SurfacePolicy())


def test_a_soft_image_says_why_it_is_unsure():
    assert decide(scored(0.9, Handling.SOFT), SurfacePolicy()).reason == "too_soft_to_tell"
    assert decide(scored(0.05, Handling.SOFT), SurfacePolicy()).reason == "p_value_at_most_unsure_fpr"


def test_surface_has_its_own_thresholds():
    settings = Settings(surfaces={"news": PolicySettings(not_camera_fpr=0.005, unsure_fpr=0.2, decisions_needed=2)})
    assert policy_for(settings, "news") == SurfacePolicy(0.005, 0.2, 2)
    assert policy_for(settings, "avatars") == SurfacePolicy(0.02, 0.10)
    assert decide(scored(0.01), policy_for(settings, "news")).kind is VerdictKind.UNSURE
