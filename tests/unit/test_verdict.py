"""The verdict table."""

import numpy as np
import pytest

from pipeline.errors import RejectReason
from pipeline.read_out import tell_handling
from pipeline.records import Examination, Handling, NotApplicableReason, SurfacePolicy, VerdictKind
from pipeline.settings import PolicySettings, Settings
from pipeline.verdict import decide, policy_for
from tests.factories import make_score


def scored(
    p_value: float, handling: Handling = Handling.AS_MADE, *, half: float | None = None, full: float | None = None
) -> Examination:
    told = tell_handling(np.where(np.arange(len(Handling)) == handling, 0.9, 0.05))
    full = p_value if full is None else full
    score = make_score(p_value=p_value, full_size_p_value=full, half_size_p_value=half, exif_predictions=(told,))
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
        (scored(1.0, half=0.0201), VerdictKind.CAMERA),
        (scored(1.0, half=0.02), VerdictKind.UNSURE),  # it would be not_camera at half the size
        (scored(0.01, half=0.001), VerdictKind.NOT_CAMERA),  # at both
        (scored(0.1001, full=0.01, half=0.5), VerdictKind.UNSURE),  # the second look makes nothing surer
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


def test_an_image_that_is_strange_at_one_size_alone_says_so():
    assert decide(scored(0.9, half=0.01), SurfacePolicy()).reason == "sizes_disagree"
    assert decide(scored(0.18, full=0.01, half=0.9), SurfacePolicy(0.01, 0.05)).reason == "sizes_disagree"
    assert (
        decide(scored(0.01, half=0.01), SurfacePolicy(0.001, 0.005)).kind is VerdictKind.CAMERA
    )  # at both, by its policy
    assert decide(scored(0.05, half=0.01), SurfacePolicy()).reason == "p_value_at_most_unsure_fpr"
    assert decide(scored(0.9, Handling.SOFT, half=0.01), SurfacePolicy()).reason == "too_soft_to_tell"


def test_surface_has_its_own_thresholds():
    settings = Settings(surfaces={"news": PolicySettings(not_camera_fpr=0.005, unsure_fpr=0.2, decisions_needed=2)})
    assert policy_for(settings, "news") == SurfacePolicy(0.005, 0.2, 2)
    assert policy_for(settings, "avatars") == SurfacePolicy(0.02, 0.10)
    assert decide(scored(0.01), policy_for(settings, "news")).kind is VerdictKind.UNSURE
