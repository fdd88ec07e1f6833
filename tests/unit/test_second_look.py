"""A second look at half the size: at which pixels, and what it changes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.evaluation.labels import LabelledImage
from pipeline.evaluation.scoring import Scoring
from pipeline.examine import Examiner
from pipeline.patches import NotApplicable
from pipeline.records import STAGES, DecodedImage, Examination, StoredObject, SurfacePolicy, VerdictKind
from pipeline.second_look import NO_HEADER, SIDE, Looking, both, half_size
from pipeline.settings import LimitSettings
from pipeline.verdict import decide
from tests import images
from tests.factories import make_score
from tests.fakes import MODEL, FakeDetector, FakeExifReader, FakeScorer
from tests.images import photo

p_values = st.floats(0, 1, exclude_min=True)
maybe = st.none() | p_values


def jpeg(height, width):
    return DecodedImage(photo(height, width), "JPEG")


def looked_at_twice(full, half):
    score = make_score(p_value=full, half_size_p_value=None)
    return score if half is None else both(score, half)


def looking(detector, scorer, patch_budget):
    return Looking(detector, MODEL, scorer, patch_budget)


def verdict(full, half, policy):
    return decide(Examination("00", 1, score=looked_at_twice(full, half)), policy).kind


def test_a_small_image_is_halved_as_a_whole():
    image = jpeg(512, 640)
    expected = Image.fromarray(image.pixels).resize((320, 256), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(half_size(image).pixels, np.asarray(expected))
    assert half_size(image).format == "PNG", "so that its patches are saved as a JPEG's would be"


def test_an_odd_row_is_left_out():
    image = jpeg(513, 641)
    whole = DecodedImage(image.pixels[:512, :640], "JPEG")
    np.testing.assert_array_equal(half_size(image).pixels, half_size(whole).pixels)


def test_of_a_large_image_it_is_the_middle_on_the_grid_of_the_whole():
    image = jpeg(1500, 2100)
    small = half_size(image)
    assert small.pixels.shape == (SIDE // 2, SIDE // 2, 3)
    whole = np.asarray(Image.fromarray(image.pixels).resize((1050, 750), Image.Resampling.BICUBIC))
    top, left = 224 // 2, 512 // 2  # of 238 and 538 px, what is left of multiples of 32
    inside = slice(4, -4)  # the filter of the edges sees other pixels
    np.testing.assert_array_equal(
        small.pixels[inside, inside], whole[top : top + 512, left : left + 512][inside, inside]
    )
    assert top % 16 == left % 16 == 0


def test_it_asks_the_detector_about_half_as_many_patches():
    asked = []

    class Listening(FakeDetector):
        def detect(self, patches, model):
            asked.append(len(patches.pixels))
            return super().detect(patches, model)

    for side in (1024, 130):
        score = looking(Listening(), FakeScorer(0.25), 7).twice(jpeg(side, side), NO_HEADER, {}).score
        assert score.half_size_p_value == 0.25
    assert asked == [7, 4, 4, 1]


def test_what_cannot_be_asked_about_at_half_the_size_has_no_second_look():
    score = looking(FakeDetector(), FakeScorer(0.01), 64).twice(jpeg(127, 500), NO_HEADER, {}).score
    assert (score.p_value, score.full_size_p_value, score.half_size_p_value) == (0.01, 0.01, None)


def test_what_is_flat_at_half_the_size_has_no_second_look():
    """Of a large image its middle, so the first look still has something to go by."""
    image = jpeg(1600, 1600)
    image.pixels[256:1344, 256:1344] = 90
    score = looking(FakeDetector(), FakeScorer(0.01), 64).twice(image, NO_HEADER, {}).score
    assert (score.p_value, score.half_size_p_value) == (0.01, None)


def test_what_cannot_be_asked_about_at_all_is_said_so():
    with pytest.raises(NotApplicable):
        looking(FakeDetector(), FakeScorer(), 64).twice(
            DecodedImage(np.full((512, 512, 3), 90, np.uint8), "JPEG"), NO_HEADER, {}
        )


class StrangeWhenSmall(FakeScorer):
    """Finds an image of 16 patches or more like many photographs, and a smaller one like hardly any."""

    def score(self, output, patches, statistics, exif):
        self.p_value = 0.9 if len(patches.pixels) >= 16 else 0.01
        return super().score(output, patches, statistics, exif)


def test_an_upload_is_looked_at_twice():
    content = images.png(photo(256, 256))
    found = Examiner(FakeExifReader(), FakeDetector(), LimitSettings()).examine(
        StoredObject(content, "0" * 64), MODEL, StrangeWhenSmall()
    )
    assert (found.score.p_value, found.score.full_size_p_value, found.score.half_size_p_value) == (0.9, 0.9, 0.01)
    assert decide(found, SurfacePolicy()).reason == "sizes_disagree"
    assert found.patch_count == 16, "what is kept is of the first look"
    assert ("fetch", *found.timings_ms) == STAGES


def test_an_evaluation_looks_twice_as_well(tmp_path):
    (tmp_path / "a.png").write_bytes(images.png(photo(256, 256)))
    scorer = StrangeWhenSmall()
    scorer.model = SimpleNamespace(
        calibration_log_likelihood=np.array([1.0]), calibration_ai_probability=np.array([0.5])
    )
    scoring = Scoring(
        FakeDetector(),
        MODEL,
        scorer,
        exif_reader=FakeExifReader(),
        limits=LimitSettings(),
        policy=SurfacePolicy(),
    )
    [row] = scoring.score(LabelledImage(tmp_path / "a.png", "a.png", "Pen"), ["as_found"])
    assert (row.verdict, row.scores.p_values[2]) == (VerdictKind.UNSURE, 0.9)


@given(p_values, maybe)
def test_a_second_look_never_makes_an_image_stranger(full, half):
    score = looked_at_twice(full, half)
    assert score.p_value >= full  # so at most alpha of photographs have at most alpha, whatever half is
    assert score.p_value == full or full <= 0.02
    assert (score.full_size_p_value, score.half_size_p_value) == (full, half)


@given(p_values, p_values, maybe)
def test_no_verdict_flips_at_half_the_size(full, half, quarter):
    """As far as an upload of half the size says at full what this image says at half."""
    for policy in (SurfacePolicy(), SurfacePolicy(0.01, 0.05), SurfacePolicy(0.02, 0.3), SurfacePolicy(0.02, 0.02)):
        kinds = {verdict(full, half, policy), verdict(half, quarter, policy)}
        assert kinds != {VerdictKind.CAMERA, VerdictKind.NOT_CAMERA}


@given(p_values, maybe, st.sampled_from([(0.02, 0.1), (0.01, 0.05), (0.001, 0.015), (0.05, 0.06)]))
def test_a_second_look_makes_no_verdict_surer(full, half, rates):
    policy = SurfacePolicy(*rates)
    assert verdict(full, half, policy) in (verdict(full, None, policy), VerdictKind.UNSURE)


@pytest.mark.parametrize(
    ("full", "half", "expected"),
    [
        (0.005, 0.005, VerdictKind.NOT_CAMERA),
        (0.02, 0.02, VerdictKind.NOT_CAMERA),
        (0.005, 0.021, VerdictKind.UNSURE),  # strange at one size alone
        (0.021, 0.005, VerdictKind.UNSURE),
        (0.5, 0.021, VerdictKind.CAMERA),
        (0.5, 0.02, VerdictKind.UNSURE),
        (0.5, None, VerdictKind.CAMERA),
        (0.02, None, VerdictKind.NOT_CAMERA),
    ],
)
def test_not_camera_is_what_is_strange_at_both_sizes(full, half, expected):
    assert verdict(full, half, SurfacePolicy()) is expected


def test_a_strict_surface_is_not_made_stricter():
    """What is not strange keeps its p-value, so a lead who lowers the second threshold frees it."""
    assert verdict(0.06, 0.9, SurfacePolicy(0.01, 0.05)) is VerdictKind.CAMERA
