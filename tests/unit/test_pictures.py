"""Pictures for people: the right way up, on one another, and ours to the last byte."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.highpass import residuals
from pipeline.pictures import Picture, draw, draw_heat, orientation_of, pdq, residual, upright_size
from pipeline.records import DecodedImage
from tests import images
from tests.factories import make_score

LANDSCAPE = images.photo(1000, 3000)


def opened(content):
    return Image.open(io.BytesIO(content))


def decoded(pixels):
    return DecodedImage(np.ascontiguousarray(pixels), "JPEG")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_any_viewer_would_turn_the_file(orientation):
    pixels = images.photo(60, 90)
    pixels[:30, :30] = 0  # one dark corner
    file = Image.Exif()
    file[0x0112] = orientation
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(images.png(pixels, exif=file))))
    full = opened(draw(decoded(pixels), orientation)[Picture.FULL])
    assert full.size == expected.size == upright_size(90, 60, orientation)
    assert np.abs(np.asarray(full).astype(int) - np.asarray(expected).astype(int)).mean() < 3


def test_heif_is_turned_by_its_decoder_already():
    assert orientation_of("HEIF", {"Orientation": 6}) == 1
    assert orientation_of("JPEG", {"Orientation": 6}) == 6
    assert orientation_of("JPEG", {"Orientation": 99}) == orientation_of("JPEG", {}) == 1


def test_every_picture_has_its_size():
    sizes = {picture: opened(content).size for picture, content in draw(decoded(LANDSCAPE), 6).items()}
    assert sizes == {
        Picture.THUMB: (85, 256),
        Picture.BLURRED: (21, 64),
        Picture.VIEW: (533, 1600),
        Picture.FULL: (1000, 3000),
        Picture.RESIDUAL: (1000, 3000),
    }


def test_what_is_blurred_shows_no_details():
    stripes = np.zeros((600, 900, 3), np.uint8)
    stripes[:, 450:] = 255
    stripes[300:] = np.tile([0, 255], 25).repeat(18)[None, :, None]  # 64 px would still show them
    blurred = np.asarray(opened(draw(decoded(stripes), 1)[Picture.BLURRED]).convert("L")).astype(int)
    assert np.ptp(blurred[30:40, 8:-8]) < 16
    assert blurred[10, 60] - blurred[10, 4] > 240  # what is large stays


@pytest.mark.parametrize("orientation", [1, 6])
def test_heat_lies_on_its_patches_in_the_view(orientation):
    score = make_score(patch_log_likelihoods=(-900.0, 10.0), patch_corners=((0, 0), (936, 2936)))
    pixels = np.full((1000, 3000, 3), 255, np.uint8)
    pixels[:64, :64] = 0  # the strange patch, marked in the image itself
    view = np.asarray(opened(draw(decoded(pixels), orientation)[Picture.VIEW]))
    heat = np.asarray(opened(draw_heat(score, 3000, 1000, orientation)))
    assert heat.shape[:2] == view.shape[:2]
    strange = (heat[..., 3] > 0) & (heat[..., 0] > heat[..., 2])
    dark = view[..., 0] < 128
    assert dark.sum() > 900
    assert (strange & dark).sum() > 0.9 * dark.sum()
    assert (heat[..., 3] > 0).mean() < 0.01  # the rest is transparent


def test_a_small_image_is_not_enlarged():
    assert opened(draw(decoded(images.photo(50, 80)), 1)[Picture.VIEW]).size == (80, 50)


def test_the_residual_shows_noise_and_not_content():
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 1200, axis=0).repeat(3, axis=2)
    ramp[600:, 100:] += np.random.default_rng(0).integers(0, 8, (600, 100, 3)).astype(np.uint8)
    strength = residual(ramp)
    assert strength[:590].max() <= 2  # a smooth ramp, over a border of two strips
    assert strength[610:, 110:-10].mean() > 80


def test_the_residual_is_a_filter_of_the_networks_own_bank():
    pixels = images.photo(600, 48)[..., :1].repeat(3, axis=2)  # grey, and higher than one strip
    answers = np.abs(residuals(pixels[..., :1].astype(np.float32))[-2])
    most = np.quantile(answers[::4, ::4], 0.995)
    expected = 255 * np.sqrt(np.minimum(answers / most, 1))
    inside = (slice(2, -2), slice(2, -2))  # the border is filled otherwise
    assert np.abs(residual(pixels)[inside] - expected[inside]).max() < 8


def test_pdq_knows_a_copy_again_and_tells_images_apart():
    def picture(seed):
        coarse = np.random.default_rng(seed).integers(0, 255, (12, 16, 3)).astype(np.uint8)
        return Image.fromarray(coarse).resize((800, 600), Image.Resampling.BICUBIC)

    copy = opened(images.jpeg(np.asarray(picture(1).resize((400, 300))), quality=60))
    first, again, other = (pdq(decoded(np.asarray(image.convert("RGB")))) for image in (picture(1), copy, picture(2)))
    differ = [sum(a != b for a, b in zip(first, one, strict=True)) for one in (again, other)]
    assert differ[0] <= 31 < 90 < differ[1]


def test_an_image_without_detail_has_no_pdq():
    assert pdq(decoded(images.flat(300, 300))) is None


def test_nothing_of_a_header_comes_along():
    pictures = draw(decoded(images.photo()), 1)
    assert all(b"Exif" not in content for content in pictures.values())
    heat = draw_heat(replace(make_score(), patch_corners=((0, 0), (0, 64))), 128, 96, 1)
    assert opened(heat).mode == "RGBA"
