"""Figures against scikit-learn's, and the conditions."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.evaluation import (
    CONDITIONS,
    as_json,
    auroc,
    average_precision,
    degrade,
    fpr_at_promise,
    measure,
    tpr_at_fpr,
)
from pipeline.evaluation.figures import FPRS, Sample, auroc_difference, measures
from pipeline.records import DecodedImage
from tests.images import photo

scores = arrays(np.float64, st.integers(1, 40), elements=st.integers(0, 9).map(float))  # few values: many ties


@settings(deadline=None)  # a busy machine is no error
@given(real=scores, ai=scores)
def test_areas_equal_scikit_learns(real, ai):
    truth = np.r_[np.zeros(len(real)), np.ones(len(ai))]
    both = np.r_[real, ai]
    assert auroc(real, ai) == pytest.approx(roc_auc_score(truth, both))
    assert average_precision(real, ai) == pytest.approx(average_precision_score(truth, both))


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.0, 0.25),  # above all of 1..100
        (0.02, 0.5),  # two reals may exceed: above 98
        (1 / 3, 0.75),  # above 67
    ],
)
def test_tpr_at_fpr(rate, expected):
    assert tpr_at_fpr(np.arange(1.0, 101), np.array([50.0, 70.0, 98.5, 101.0]), rate) == expected


@settings(deadline=None)
@given(data=st.data(), real=scores, ai=scores)
def test_a_resample_is_measured_as_the_images_it_draws(data, real, ai):
    def drawn_images(n):
        return st.lists(st.integers(0, n - 1), min_size=1, max_size=2 * n).map(  # whole sources, so not always n
            lambda drawn: np.bincount(drawn, minlength=n)
        )

    counts = [data.draw(drawn_images(len(scores))) for scores in (real, ai)]
    found = measures(*(Sample(s, c[:, None].astype(float)) for s, c in zip((real, ai), counts, strict=True)))
    drawn = np.repeat(real, counts[0]), np.repeat(ai, counts[1])
    assert found["auroc"][0] == pytest.approx(auroc(*drawn))
    assert found["ap"][0] == pytest.approx(average_precision(*drawn))
    for name, rate in FPRS.items():
        assert found[name][0] == pytest.approx(tpr_at_fpr(*drawn, rate))


def test_promise_counts_the_border_and_has_an_exact_interval():
    figure = fpr_at_promise(np.r_[0.02, np.linspace(0.03, 1, 99)], 0.02)
    assert figure.value == 0.01
    assert figure.interval.low == pytest.approx(0.000253, abs=1e-5)
    assert figure.interval.high == pytest.approx(0.0545, abs=1e-4)


def test_bootstrap_interval_holds_the_figure():
    random = np.random.default_rng(0)
    figures = measure(random.normal(0, 1, 100), random.normal(1, 1, 100), resamples=100)
    for figure in figures.values():
        assert figure.interval.low <= figure.value <= figure.interval.high
        assert figure.interval.low < figure.interval.high
    assert list(as_json(figures))[:2] == ["auroc", "auroc_interval"]


def test_images_of_one_source_are_drawn_together():
    """Twenty sources of ten images that score alike say as much as twenty images, not as two hundred."""
    random = np.random.default_rng(0)
    real, ai = random.normal(0, 1, 20), random.normal(1, 1, 20)
    sources = [f"source {number // 10}" for number in range(200)]
    many = np.repeat(real, 10), np.repeat(ai, 10)
    few, alone = measure(real, ai)["auroc"], measure(*many)["auroc"]
    together = measure(*many, real_sources=sources, ai_sources=sources)["auroc"]
    assert few.value == alone.value == pytest.approx(together.value)
    width = [figure.interval.high - figure.interval.low for figure in (few, together, alone)]
    assert width[1] == pytest.approx(width[0], rel=0.15)
    assert width[2] < 0.5 * width[1]
    better = auroc_difference((real, ai), (real, real))
    assert better.value == pytest.approx(few.value - 0.5)
    assert 0 < better.interval.low < better.value < better.interval.high
    apart = auroc_difference(many, (many[0], many[0]), real_sources=sources, ai_sources=sources)
    assert apart.interval.low == pytest.approx(better.interval.low, abs=0.03)
    assert measure(*many, real_sources=sources[:90] * 2 + sources[:20])["auroc"] == alone, "nine sources are too few"


def test_sources_may_differ_in_size():
    """A draw of large ones holds more images than there are; what can be told in every draw is told."""
    sources = [f"source {number}" for number in range(20) for _ in range(1 + number)]
    real, ai = np.linspace(0, 1, len(sources)), np.linspace(2, 3, len(sources))
    for figure in measure(real, ai, real_sources=sources, ai_sources=sources).values():
        assert (figure.value, figure.interval.low, figure.interval.high) == pytest.approx((1, 1, 1))
    never = measure(ai, real, real_sources=sources, ai_sources=sources)["auroc"]
    assert (never.value, never.interval.low, never.interval.high) == pytest.approx((0, 0, 0))


@pytest.mark.parametrize(
    ("condition", "shape"),
    [
        ("as_found", (600, 300, 3)),
        ("reencoded", (512, 300, 3)),
        ("jpeg_70", (512, 300, 3)),
        ("half_size", (256, 150, 3)),
        ("thumbnail", (256, 150, 3)),
        ("jpeg_95", (512, 300, 3)),
        ("jpeg_85", (512, 300, 3)),
        ("blur", (512, 300, 3)),
        ("double_size", (1024, 600, 3)),
        ("screenshot", (445, 261, 3)),  # 0.87 of it
    ],
)
def test_conditions(condition, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (600, 300, 3), dtype=np.uint8)
    changed = degrade(DecodedImage(pixels, "PNG"), condition)
    assert changed.pixels.shape == shape
    # what ends as a JPEG is looked at as it is; the rest is saved as one first, as an upload of it would be
    assert (changed.format == "JPEG") == (condition in ("reencoded", "thumbnail", "jpeg_95", "jpeg_85", "jpeg_70"))
    assert condition in CONDITIONS
    assert np.array_equal(changed.pixels, pixels) == (condition == "as_found")


def test_the_re_encoding_tells_nothing_of_what_came():
    """Cut on the grid of the blocks, and twice saved like a photograph, whatever the file was."""
    pixels = photo(600, 700)
    jpeg, png = (degrade(DecodedImage(pixels, format), "reencoded").pixels for format in ("JPEG", "PNG"))
    whole = Image.fromarray(pixels)
    for image, expected in ((jpeg, whole), (png, saved(whole))):
        np.testing.assert_array_equal(image, np.asarray(saved(expected.crop((80, 32, 80 + 512, 32 + 512)))))


def saved(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, subsampling="4:2:0")
    return Image.open(buffer).convert("RGB")


def test_degradations_start_from_the_common_re_encoding():
    pixels = np.random.default_rng(0).integers(0, 256, (600, 300, 3), dtype=np.uint8)
    reencoded = degrade(DecodedImage(pixels, "PNG"), "reencoded")
    expected = gaussian_filter(reencoded.pixels.astype(float), (1, 1, 0))
    assert np.abs(degrade(DecodedImage(pixels, "PNG"), "blur").pixels - expected).mean() < 2
    assert np.abs(pixels[32:544] - expected).mean() > 20
    with pytest.raises(KeyError, match="sepia"):
        degrade(DecodedImage(pixels, "PNG"), "sepia")
