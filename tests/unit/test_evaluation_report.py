"""Scored images -> flips, groups, worst errors."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.decode import decode
from pipeline.evaluation import count_flips, report
from pipeline.evaluation.conditions import degrade
from pipeline.evaluation.figures import as_json, measure
from pipeline.evaluation.flips import change
from pipeline.evaluation.labels import LabelledImage, list_images
from pipeline.evaluation.report import head_figures
from pipeline.evaluation.scoring import HeadScores, Scored, Scoring
from pipeline.patches import cut
from pipeline.records import SurfacePolicy, VerdictKind
from pipeline.settings import LimitSettings
from tests import images
from tests.factories import make_score
from tests.fakes import FakeDetector

CAMERA, UNSURE, NOT_CAMERA = VerdictKind.CAMERA, VerdictKind.UNSURE, VerdictKind.NOT_CAMERA
NOT_APPLICABLE, REJECTED = VerdictKind.NOT_APPLICABLE, VerdictKind.REJECTED


@pytest.mark.parametrize(
    ("before", "after", "became"),
    [
        (CAMERA, CAMERA, "same"),
        (UNSURE, UNSURE, "same"),
        (CAMERA, UNSURE, "unsure"),
        (UNSURE, NOT_CAMERA, "unsure"),
        (CAMERA, NOT_CAMERA, "flipped"),
        (NOT_CAMERA, CAMERA, "flipped"),
        (NOT_APPLICABLE, CAMERA, "not_applicable"),
        (NOT_CAMERA, NOT_APPLICABLE, "not_applicable"),
        (REJECTED, REJECTED, "not_applicable"),  # no verdict that could have held
    ],
)
def test_what_becomes_of_a_verdict(before, after, became):
    assert change(before, after) == became


def test_flips_are_a_share_of_those_with_a_verdict_on_both_sides():
    found = count_flips([CAMERA, CAMERA, CAMERA, UNSURE, CAMERA], [CAMERA, NOT_CAMERA, UNSURE, UNSURE, NOT_APPLICABLE])
    assert {name: found[name] for name in ("images", "same", "unsure", "flipped", "not_applicable")} == {
        "images": 5,
        "same": 2,
        "unsure": 1,
        "flipped": 1,
        "not_applicable": 1,
    }
    assert found["flipped_share"] == 0.25
    assert found["flipped_share_interval"] == pytest.approx([0.0063, 0.8059], abs=1e-4)


def test_no_share_where_nothing_has_a_verdict():
    assert "flipped_share" not in count_flips([NOT_APPLICABLE], [CAMERA])


def scored(name, group, suspicion, *, verdict=CAMERA, p_value=0.5):
    scores = HeadScores(suspicion=(suspicion, 1 - suspicion, suspicion), p_values=(p_value, 0.9, p_value))
    return Scored(name, f"{name}-sha", group, verdict, scores)


@pytest.fixture
def found():
    real = [scored(f"r{n}", "Nikon" if n < 3 else "Apple", 0.1 * n, p_value=0.01 if n == 3 else 0.5) for n in range(4)]
    real.append(Scored("small", "small-sha", "Apple", NOT_APPLICABLE, None))
    ai = [scored("a0", "Brush", 0.15), scored("a1", "Brush", 0.9), scored("a2", "Pen", 0.8)]
    flipped = [*real[:3], scored("r3", "Apple", 0.3, verdict=NOT_CAMERA), real[4]]
    return report({"as_found": {"real": flipped, "ai": ai}, "reencoded": {"real": real, "ai": ai}}, promise=0.02)


def test_a_generator_is_held_against_all_photographs_and_a_make_against_all_ai_images(found):
    figures = found["reencoded"]
    assert figures["images"] == {"real": 4, "ai": 3}
    assert figures["verdicts"]["real"] == {"camera": 4, "not_applicable": 1}
    assert figures["fused"]["auroc"] == pytest.approx((4 + 4 + 2) / 12, abs=1e-4)
    assert figures["by_generator"]["Brush"]["fused"]["auroc"] == pytest.approx((4 + 2) / 8)
    assert figures["by_generator"]["Pen"]["fused"]["auroc"] == 1
    assert figures["by_make"]["Nikon"]["fused"]["auroc"] == pytest.approx((2 + 3 + 3) / 9, abs=1e-4)
    assert figures["by_make"]["Apple"]["images"] == 1
    assert list(figures["by_make"]) == ["Nikon", "Apple"]  # the largest first


def test_heads_are_not_mixed_up(found):
    figures = found["reencoded"]
    assert figures["binary"]["auroc"] == pytest.approx(1 - figures["one_class"]["auroc"], abs=1e-3)
    assert figures["fused"]["fpr_at_promise"] == 0.25
    assert figures["binary"]["fpr_at_promise"] == 0
    assert figures["by_make"]["Apple"]["fused"]["fpr_at_promise"] == 1
    assert figures["by_make"]["Nikon"]["fused"]["fpr_at_promise"] == 0


def test_worst_errors_begin_with_the_worst(found):
    worst = found["worst_errors"]
    assert [error["file"] for error in worst["real"]] == ["r3", "r2", "r1", "r0"]
    assert [error["file"] for error in worst["ai"]] == ["a0", "a2", "a1"]
    assert worst["ai"][0] == {
        "file": "a0",
        "sha256": "a0-sha",
        "group": "Brush",
        "verdict": "camera",
        "p_value": 0.5,
        "ai_probability": 0.85,
        "log_likelihood": -0.1,
    }


def test_flips_are_against_the_re_encoded_image(found):
    assert list(found["flips"]) == ["as_found"]
    row = found["flips"]["as_found"]["real"]
    assert (row["same"], row["flipped"], row["not_applicable"]) == (3, 1, 1)


def test_groups_by_manifest_then_folder(tmp_path):
    for name in ("b.jpg", "pen/a.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "manifest.csv").write_text("file,generator,make\nb.jpg,Brush,Nikon\n")
    (tmp_path / "c.jpg").touch()
    assert [(i.name, i.group) for i in list_images(tmp_path, "ai")] == [
        ("b.jpg", "Brush"),
        ("c.jpg", "unknown"),  # never the camera that its EXIF may claim
        ("pen/a.png", "pen"),
    ]
    (tmp_path / "c.jpg").unlink()
    assert [(i.name, i.group) for i in list_images(tmp_path, "real")] == [("b.jpg", "Nikon"), ("pen/a.png", None)]


def test_figures_draw_the_sources_that_are_known():
    random = np.random.default_rng(0)
    real, ai = (
        [replace(scored(f"{n}", "x", random.normal(mean, 1)), source=f"source {n // 5}") for n in range(60)]
        for mean in (0, 1)
    )
    known, partly = head_figures(real, ai, 0.02), head_figures([replace(real[0], source=""), *real[1:]], ai, 0.02)
    suspicion = [np.array([image.scores.suspicion[2] for image in side]) for side in (real, ai)]
    sources = [[image.source for image in side] for side in (real, ai)]
    whole = measure(*suspicion, real_sources=sources[0], ai_sources=sources[1])
    assert known["fused"].items() >= as_json(whole).items()
    assert partly["fused"].items() >= as_json(measure(*suspicion, ai_sources=sources[1])).items()
    assert known["fused"]["auroc_interval"] != partly["fused"]["auroc_interval"]


class _Scorer:
    """Gives every image the same score."""

    model = SimpleNamespace(
        calibration_log_likelihood=np.array([1.0, 2.0, 4.0]), calibration_ai_probability=np.array([0.1, 0.2, 0.9])
    )

    def score(self, output, patches, statistics, exif):
        return make_score(log_likelihood=2.0, ai_probability=output.ai_probability, fused=-7.0, p_value=0.05)


def test_the_same_bytes_are_scored_once_and_bad_bytes_never(tmp_path):
    detector = FakeDetector(ai_probability=0.2)
    scoring = Scoring(
        detector,
        model=None,
        scorer=_Scorer(),
        exif_reader=None,  # the group is known: nobody needs the header
        limits=LimitSettings(),
        policy=SurfacePolicy(),
    )
    done = []
    content = images.png()
    for name, written in (("a.png", content), ("b.png", content), ("bad.png", b"no image")):
        (tmp_path / name).write_bytes(written)
        rows = scoring.score(
            LabelledImage(tmp_path / name, name, "Pen"), ("as_found", "blur"), done=lambda: done.append(1)
        )
        assert [row.name for row in rows] == [name, name]
        expected = REJECTED if name == "bad.png" else UNSURE
        assert [row.verdict for row in rows] == [expected, expected]
        if name != "bad.png":
            assert rows[0].scores == HeadScores(suspicion=(-2.0, 0.2, 7.0), p_values=(0.75, 0.75, 0.05))
    assert detector.calls == 2
    assert len(done) == 6


def test_what_is_looked_at_is_the_image_under_its_condition(tmp_path):
    seen = []

    class Watching(FakeDetector):
        def detect(self, patches, model):
            seen.append(patches.pixels)
            return super().detect(patches, model)

    content = images.png(images.photo(256, 256))
    (tmp_path / "a.png").write_bytes(content)
    scoring = Scoring(
        Watching(), model=None, scorer=_Scorer(), exif_reader=None, limits=LimitSettings(), policy=SurfacePolicy()
    )
    scoring.score(LabelledImage(tmp_path / "a.png", "a.png", "Pen"), ("as_found", "blur"))
    image = decode(content, LimitSettings())
    for first_look, condition in zip(seen[::2], ("as_found", "blur"), strict=True):
        np.testing.assert_array_equal(first_look, cut(degrade(image, condition), 64).pixels)
