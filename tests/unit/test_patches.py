"""Which patches are cut out of an image."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline import patches as cutting
from pipeline.patches import NotApplicable, cut
from pipeline.records import DecodedImage, NotApplicableReason
from pipeline.windows import windows
from tests.images import drawing, jpeg, photo


def noise(height: int, width: int, seed: int = 0) -> DecodedImage:
    pixels = np.random.default_rng(seed).integers(40, 200, (height, width, 3), dtype=np.uint8)
    return DecodedImage(pixels, "JPEG")


@pytest.mark.parametrize(
    ("height", "width", "budget", "count"),
    [
        (64, 64, 8, 1),  # the smallest image
        (127, 64, 8, 1),  # a second cell does not fit
        (128, 192, 8, 6),  # all of a small grid
        (640, 640, 8, 8),  # the budget
        (4000, 64, 100, 62),  # one column
    ],
)
def test_number_of_patches(height, width, budget, count):
    patches = cut(noise(height, width), budget)
    assert patches.pixels.shape == (count, 64, 64, 3)
    assert patches.corners.shape == (count, 2)


@settings(max_examples=50, deadline=None)
@given(height=st.integers(64, 700), width=st.integers(64, 700), budget=st.integers(1, 40))
def test_patches_are_the_pixels_at_their_corners_without_overlap(height, width, budget):
    image = noise(height, width)
    patches = cut(image, budget)
    for patch, (y, x) in zip(patches.pixels, patches.corners, strict=True):
        assert np.array_equal(patch, image.pixels[y : y + 64, x : x + 64])
    cells = {(y // 64, x // 64) for y, x in patches.corners - patches.corners.min(0)}
    assert len(cells) == len(patches.corners) <= budget


def test_grid_is_centred_on_jpegs_own():
    patches = cut(noise(64 + 38, 64 + 20), 1)
    assert patches.corners.tolist() == [[16, 0]], "19 and 10 by themselves"


def test_a_larger_budget_only_adds_patches():
    image = noise(1000, 1500)
    small, large = (set(map(tuple, cut(image, budget).corners.tolist())) for budget in (8, 64))
    assert small < large


def test_patches_come_in_whole_blocks_in_reading_order():
    """What is looked at together is as large as the crops that the detector learned from, and one place."""
    for window in cut(noise(64 * 42, 64 * 41), 64).corners.reshape(4, 16, 2):
        (top, left), columns = window[0], np.arange(4)
        expected = [[top + 64 * down, left + 64 * across] for down in columns for across in columns]
        assert window.tolist() == expected


def places(patches):
    """Height and width in cells of each window."""
    windowed = [patches.corners[window] // 64 for window in windows(len(patches.corners))]
    return [tuple((window.max(0) - window.min(0) + 1).tolist()) for window in windowed]


@pytest.mark.parametrize(("height", "width", "whole"), [(480, 640, 2), (512, 512, 4), (467, 700, 2), (320, 320, 1)])
def test_whole_blocks_are_windows_whatever_the_size_of_the_image(height, width, whole):
    assert places(cut(noise(height, width), 64))[:whole] == [(4, 4)] * whole


def test_a_flat_cell_costs_no_more_than_its_block():
    image = noise(512, 512)
    image.pixels[:64, :64] = 90
    patches = cut(image, 64)
    assert len(patches.corners) == 63
    assert places(patches)[:3] == [(4, 4)] * 3


def test_smaller_blocks_at_the_edges_come_last():
    corners = cut(noise(64 * 5, 64 * 9), 32).corners // 64
    assert corners[:, 0].max() == 3
    assert corners[:, 1].max() == 7


def test_any_budget_is_spread_over_the_image():
    corners = cut(noise(64 * 80, 64 * 80), 16 * 16).corners
    quadrants = np.histogram2d(corners[:, 0], corners[:, 1], bins=2)[0]
    assert quadrants.min() >= 48
    assert len(np.unique(corners[:, 1])) > 30, "no lining up with the columns"


def test_what_is_drawn_is_not_decided_in_one_place():
    """A photograph in the middle of a large drawing, where the first block is."""
    pixels = drawing(64 * 24, 64 * 24)
    pixels[64 * 10 : 64 * 15, 64 * 10 : 64 * 15] = noise(64 * 5, 64 * 5).pixels
    with pytest.raises(NotApplicable) as error:
        cut(DecodedImage(pixels, "JPEG"), 16)
    assert error.value.reason is NotApplicableReason.GRAPHIC


def test_of_drawn_blocks_the_natural_cells_are_asked():
    """Nothing else is known to be drawn: spread cells hardly met it."""
    natural = np.random.default_rng(0).normal(128, 4, (64 * 24, 64 * 24, 3)).astype(np.uint8)
    image, graphic = DecodedImage(natural, "JPEG"), drawing(64, 64)
    before = cut(image, 64).corners
    for y, x in before[:32]:
        image.pixels[y : y + 64, x : x + 64] = graphic
    np.testing.assert_array_equal(cut(image, 64).corners, before[32:])


def test_where_blocks_hold_nothing_single_cells_are_asked():
    image = noise(64 * 40, 64 * 40)
    lone = [tuple(corner) for corner in cutting._grid(2560, 2560)[cutting._spread(40, 40)[:4]].tolist()]
    kept = np.full_like(image.pixels, 90)
    for y, x in lone:
        kept[y : y + 64, x : x + 64] = image.pixels[y : y + 64, x : x + 64]
    found = {tuple(corner) for corner in cut(DecodedImage(kept, "JPEG"), 4).corners.tolist()}
    assert found
    assert found <= set(lone)


def test_flat_and_clipped_cells_are_passed_over():
    image = noise(128, 256)
    image.pixels[:64] = 90  # flat
    image.pixels[64:, :64] = 255  # clipped
    assert cut(image, 8).corners.tolist() == [[64, 64], [64, 128], [64, 192]]


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((63, 500, 3), 7, np.uint8), NotApplicableReason.TOO_SMALL),
        (np.full((256, 256, 3), 7, np.uint8), NotApplicableReason.FLAT),
        (np.full((256, 256, 3), 255, np.uint8), NotApplicableReason.FLAT),
    ],
)
def test_images_that_the_question_does_not_apply_to(pixels, reason):
    with pytest.raises(NotApplicable) as caught:
        cut(DecodedImage(pixels, "JPEG"), 8)
    assert caught.value.reason is reason


@pytest.mark.parametrize("quality", [None, 95, 85, 75])
def test_a_graphic_is_not_asked_about(quality):
    pixels = drawing(512, 640)
    if quality:
        pixels = np.asarray(Image.open(io.BytesIO(jpeg(pixels, quality=quality))))
    with pytest.raises(NotApplicable) as error:
        cut(DecodedImage(pixels, "JPEG"), 64)
    assert error.value.reason is NotApplicableReason.GRAPHIC


def test_of_a_screenshot_only_the_photograph_in_it_is_asked_about():
    pixels = drawing(640, 640)
    sensor = np.random.default_rng(0).normal(0, 3, (256, 256, 3))
    pixels[128:384, 256:512] = np.linspace(60, 180, 256)[:, None, None] + sensor
    corners = cut(DecodedImage(pixels, "JPEG"), 100).corners
    assert {(y, x) for y, x in corners.tolist()} == {(y, x) for y in range(128, 384, 64) for x in range(256, 512, 64)}


def test_a_drawn_corner_changes_nothing_in_a_photograph():
    pixels = noise(512, 512).pixels
    pixels[:128, :448] = drawing(128, 448)  # 14 of 64 patches
    assert len(cut(DecodedImage(pixels, "JPEG"), 64).corners) == 64


def test_a_photograph_with_a_clear_sky_is_no_graphic():
    """Flat light, clipped light and hard edges, but a sensor's noise."""
    pixels = noise(512, 512).pixels.astype(float)
    pixels[:384] = 230 + np.random.default_rng(1).normal(0, 1.2, (384, 512, 3))
    pixels[:384, ::40] = 20
    pixels = np.asarray(Image.open(io.BytesIO(jpeg(np.clip(pixels, 0, 255).astype(np.uint8), quality=92))))
    assert len(cut(DecodedImage(pixels, "JPEG"), 64).corners) == 64


@pytest.mark.parametrize(("natural", "passes"), [(0, 1), (1, 2)])
def test_the_cost_does_not_grow_with_the_image(natural, passes, monkeypatch):
    pixels = np.full((64 * 60, 64 * 60, 3), 7, np.uint8)
    middle = slice(64 * 30, 64 * (30 + natural))  # where the first cell is
    pixels[middle, middle] = noise(64 * natural, 64 * natural).pixels
    looked_at = []
    usable = cutting._usable
    monkeypatch.setattr(cutting, "_usable", lambda patch: looked_at.append(1) or usable(patch))
    try:
        assert len(cut(DecodedImage(pixels, "JPEG"), 8).corners) == natural
    except NotApplicable:
        assert not natural
    assert len(looked_at) == passes * 8 * cutting.CANDIDATES_PER_PATCH


def test_what_is_no_jpeg_is_saved_as_one_first():
    """A photograph that came as HEIC or PNG would else be unlike all that calibrated, for that alone."""
    pixels = photo(512, 576)
    unsaved, png = (cut(DecodedImage(pixels, format), 64) for format in ("JPEG", "PNG"))
    np.testing.assert_array_equal(unsaved.corners, png.corners)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90, subsampling="4:2:0")
    saved = cut(DecodedImage(np.asarray(Image.open(buffer)), "JPEG"), 64)
    np.testing.assert_array_equal(saved.corners, png.corners)
    inner = np.s_[:, 2:-2, 2:-2]  # colour is interpolated over the edges of patches
    np.testing.assert_array_equal(saved.pixels[inner], png.pixels[inner])
    assert not np.array_equal(unsaved.pixels, png.pixels)
