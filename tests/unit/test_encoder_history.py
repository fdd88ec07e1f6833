"""Random histories: what they do, how often, and that they say so."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pipeline.encoder import history
from pipeline.encoder.history import random_history
from pipeline.records import Handling
from tests.images import photo

DRAWS = 200


@pytest.fixture(scope="module")
def drawn():
    picture = photo(160, 256)
    return picture, [random_history(picture, np.random.default_rng(seed)) for seed in range(DRAWS)]


def detail(pixels):
    """Energy of the finest detail beside that of the next coarser."""
    green = pixels[..., 1].astype(float)
    fine = np.diff(green, 3, axis=1).var() / 20  # 20, 2: what white noise has
    return fine / (np.diff(green, axis=1).var() / 2)


def test_half_are_handled(drawn):
    kinds = Counter(kind for _, kind in drawn[1])
    assert 0.4 < kinds[Handling.AS_MADE] / DRAWS < 0.6
    assert min(kinds[Handling.HANDLED], kinds[Handling.SOFT]) > DRAWS / 10


def test_what_is_as_made_keeps_its_size_and_nearly_its_pixels(drawn):
    picture, versions = drawn
    as_made = [pixels for pixels, kind in versions if kind is Handling.AS_MADE]
    assert {pixels.shape for pixels in as_made} == {picture.shape}
    # not compressed again, a fifth; the others differ by what JPEG and WebP take
    assert 0.05 < np.mean([np.array_equal(pixels, picture) for pixels in as_made]) < 0.4


def test_soft_images_lack_the_finest_detail(drawn):
    by_kind = {kind: np.median([detail(p) for p, k in drawn[1] if k is kind]) for kind in Handling}
    assert by_kind[Handling.SOFT] < 0.6 * by_kind[Handling.AS_MADE]
    assert by_kind[Handling.SOFT] < by_kind[Handling.HANDLED]


def test_sizes_cover_the_scales_and_leave_room_for_a_patch(drawn):
    heights = [pixels.shape[0] for pixels, _ in drawn[1]]
    assert min(heights) < 80
    assert min(heights) >= 64
    assert max(heights) > 280


def test_the_same_draw_is_the_same_history():
    first, again = (random_history(photo(128, 128), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1] is again[1]


def test_draws_do_not_depend_on_the_picture():
    """So that real and AI images, and all crops of one photograph, can be given the same."""
    pictures = [photo(128, 128), np.asarray(Image.new("RGB", (256, 256), (9, 90, 200)))]
    for seed in range(20):
        one, other = (random_history(picture, np.random.default_rng(seed))[1] for picture in pictures)
        assert one is other


@pytest.mark.parametrize(("scale", "kind"), [(0.5, Handling.HANDLED), (1.1, Handling.HANDLED), (1.3, Handling.SOFT)])
def test_enlarging_makes_soft_and_making_smaller_does_not(monkeypatch, scale, kind):
    monkeypatch.setattr(history, "HANDLED", 1.0)
    monkeypatch.setattr(history, "RESIZED", 1.0)
    monkeypatch.setattr(history, "BLURRED", 0.0)
    monkeypatch.setattr(history, "SCALES", (scale, scale))
    pixels, found = random_history(photo(128, 128), np.random.default_rng(0))
    assert found is kind
    assert pixels.shape[0] == max(64, round(128 * scale))
