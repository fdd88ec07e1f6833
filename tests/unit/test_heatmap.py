"""The picture of the patches."""

from dataclasses import replace

import numpy as np

from pipeline.heatmap import MAX_SIDE, draw_heatmap
from pipeline.records import DecodedImage
from tests import images
from tests.unit.test_reports import SCORED

BASE = SCORED.score


def drawn(likelihoods, corners, height=128, width=192):
    image = DecodedImage(images.photo(height, width), "PNG")
    return np.asarray(draw_heatmap(image, replace(BASE, patch_log_likelihoods=likelihoods, patch_corners=corners)))


def test_the_least_likely_patch_is_orange_and_the_most_likely_blue():
    picture = drawn((-100.0, 50.0), ((0, 0), (64, 64))).astype(int)
    strange, usual, unseen = picture[:64, :64], picture[64:, 64:128], picture[:64, 64:]
    assert (strange[..., 0] > strange[..., 2]).all()
    assert (usual[..., 2] > usual[..., 0]).all()
    assert (unseen[..., 0] == unseen[..., 2]).all()


def test_equal_patches_are_tinted_alike():
    picture = drawn((1.0, 1.0), ((0, 0), (64, 64)))
    assert picture.shape == (128, 192, 3)


def test_a_large_image_is_made_smaller():
    assert max(drawn((1.0,), ((0, 0),), 100, 4000).shape) == MAX_SIDE
