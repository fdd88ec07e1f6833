"""Random histories: what they do, how often, and that they say so."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from pipeline.encoder import history
from pipeline.encoder.history import random_history
from pipeline.records import DecodedImage, Handling
from tests.images import photo

DRAWS = 200


@pytest.fixture(scope="module")
def drawn():
    picture = DecodedImage(photo(160, 256), "JPEG")
    return picture, [random_history(picture, np.random.default_rng(seed)) for seed in range(DRAWS)]


def jpeg(side):
    return DecodedImage(photo(side, side), "JPEG")


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
    as_made = [image.pixels for image, kind in versions if kind is Handling.AS_MADE]
    assert {pixels.shape for pixels in as_made} == {picture.pixels.shape}
    # not compressed again, a fifth; the others differ by what JPEG and WebP take
    assert 0.05 < np.mean([np.array_equal(pixels, picture.pixels) for pixels in as_made]) < 0.4


def test_formats_are_what_was_saved_last(drawn):
    """What is no JPEG is saved as one before it is looked at (ADR 17); what befell no pixel is the file as it came."""
    picture, versions = drawn
    formats = Counter((kind is Handling.AS_MADE, image.format) for image, kind in versions)
    assert set(formats) == {(made, end) for made in (True, False) for end in ("JPEG", "WEBP", "PNG")} - {(True, "PNG")}
    assert formats[False, "PNG"] > DRAWS / 20
    heic = DecodedImage(picture.pixels, "HEIF")
    assert {random_history(heic, np.random.default_rng(seed))[0].format for seed in range(50)} >= {"HEIF", "JPEG"}


def test_soft_images_lack_the_finest_detail(drawn):
    by_kind = {kind: np.median([detail(image.pixels) for image, k in drawn[1] if k is kind]) for kind in Handling}
    assert by_kind[Handling.SOFT] < 0.6 * by_kind[Handling.AS_MADE]
    assert by_kind[Handling.SOFT] < by_kind[Handling.HANDLED]


def test_sizes_cover_the_scales_and_leave_room_for_a_patch(drawn):
    heights = [image.height for image, _ in drawn[1]]
    assert min(heights) < 80
    assert min(heights) >= 64
    assert max(heights) > 280


def test_the_same_draw_is_the_same_history():
    first, again = (random_history(jpeg(128), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first[0].pixels, again[0].pixels)
    assert first[1] is again[1]


def test_draws_do_not_depend_on_the_picture():
    """So that real and AI images, and all crops of one photograph, can be given the same."""
    blank = np.asarray(Image.new("RGB", (256, 256), (9, 90, 200)))
    pictures = [jpeg(128), DecodedImage(blank, "JPEG")]
    for seed in range(20):
        one, other = (random_history(picture, np.random.default_rng(seed))[1] for picture in pictures)
        assert one is other


@pytest.mark.parametrize(("scale", "kind"), [(0.5, Handling.HANDLED), (1.1, Handling.HANDLED), (1.3, Handling.SOFT)])
def test_enlarging_makes_soft_and_making_smaller_does_not(monkeypatch, scale, kind):
    monkeypatch.setattr(history, "HANDLED", 1.0)
    monkeypatch.setattr(history, "RESIZED", 1.0)
    monkeypatch.setattr(history, "BLURRED", 0.0)
    monkeypatch.setattr(history, "SCALES", (scale, scale))
    image, found = random_history(jpeg(128), np.random.default_rng(0))
    assert found is kind
    assert image.height == max(64, round(128 * scale))
