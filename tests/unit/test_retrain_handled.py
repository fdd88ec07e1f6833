"""Photographs after random histories: which of them are described, and of how many patches."""

import numpy as np
import pytest

from pipeline.patches import cut
from pipeline.records import DecodedImage, Handling
from pipeline.retrain.handled import HISTORIES, Handled, Photograph, describe_handled
from pipeline.statistics import describe
from tests.images import photo

KINDS = (Handling.AS_MADE, Handling.HANDLED, Handling.SOFT, Handling.SHRUNK)


def crop(side: int, seed: int = 0) -> DecodedImage:
    noise = np.random.default_rng(seed).integers(0, 12, (side, side, 3), dtype=np.uint8)
    return DecodedImage(photo(side, side) // 2 + noise, "JPEG")


def quartered(image, random):
    """One quarter of the image, which one says the draw; and a kind by the same draw."""
    drawn = int(random.integers(4))
    half = image.height // 2
    top, left = divmod(drawn, 2)
    return DecodedImage(image.pixels[top * half :, left * half :][:half, :half], "JPEG"), KINDS[drawn]


def quarter(image, kind):
    half = image.height // 2
    top, left = divmod(KINDS.index(kind), 2)
    return image.pixels[top * half :, left * half :][:half, :half]


def test_all_crops_have_the_same_history_and_are_described_together():
    crops = tuple(crop(256, seed) for seed in range(2))
    found = describe_handled([Photograph(crops, held_out=True), Photograph(crops, held_out=False)], quartered)
    assert found.held_out.tolist() == [True] * (1 + HISTORIES) + [False] * (1 + HISTORIES)
    assert found.handling[0] == found.handling[1 + HISTORIES] == Handling.AS_MADE
    assert len(set(found.handling.tolist())) > 2, "each photograph draws its own"
    # as found there is a window of the first crop alone; of quarters four patches of each of two crops
    np.testing.assert_array_equal(found.statistics[0], describe(cut(crops[0], 16).pixels))
    for statistics, kind in list(zip(found.statistics, found.handling, strict=True))[1 : 1 + HISTORIES]:
        patches = [cut(DecodedImage(quarter(one, kind), "JPEG"), 16).pixels for one in crops]
        np.testing.assert_array_equal(statistics, describe(np.concatenate(patches)))


def test_what_leaves_few_patches_is_not_described():
    """Else "few patches" would be learned in the place of how an image was handled."""
    black = DecodedImage(np.zeros((256, 256, 3), np.uint8), "JPEG")
    photographs = [Photograph((crop(256),), held_out=False), Photograph((black,), held_out=False)]
    found = describe_handled(photographs, quartered)
    assert found.handling.tolist() == [Handling.AS_MADE], "a quarter of one crop is four patches"


def test_the_same_seed_draws_the_same():
    photographs = [Photograph((crop(256, 1), crop(256, 2)), held_out=False)] * 3
    first, again, other = (describe_handled(photographs, quartered, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.statistics, again.statistics)
    assert first.handling.tolist() != other.handling.tolist()


def test_without_a_photograph_that_is_large_enough_nothing_can_be_learned():
    with pytest.raises(ValueError, match="8 patches"):
        describe_handled([Photograph((crop(128),), held_out=False)], quartered)


def test_progress_is_shown():
    seen = []

    def track(photographs):
        for photograph in photographs:
            seen.append(photograph)
            yield photograph

    photographs = [Photograph((crop(256),), held_out=False)]
    assert isinstance(describe_handled(photographs, quartered, track=track), Handled)
    assert seen == photographs
