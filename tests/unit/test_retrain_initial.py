"""The first fit on a folder: one sample per photograph, calibration on the held-out ones only."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.read_out import ReadOut
from pipeline.records import DetectorOutput, EncoderOutput, Handling
from pipeline.release import Release
from pipeline.retrain.initial import HISTORIES, VERSIONS, Examined, PhotoFiles, fit_first
from pipeline.settings import LimitSettings
from tests.synthetic import silent_read_out


class MeanColour:
    """A detector whose features are the patches' mean colours, so that a fit has something to fit."""

    def __init__(self):
        self.patch_counts = []

    def detect(self, patches, model):
        self.patch_counts.append(len(patches.pixels))
        means = patches.pixels.reshape(len(patches.pixels), -1, 3).astype(np.float32).std(axis=1)
        features = np.tile(means, (1, 176))
        features += np.random.default_rng(int(means.sum())).normal(0, 1, features.shape)
        encoded = EncoderOutput(
            features.mean(0).astype(np.float32), features.astype(np.float32), np.zeros(3, np.float32)
        )
        return DetectorOutput(encoded, 0.1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[PhotoFiles]:
    folder, random, made = tmp_path_factory.mktemp("photos"), np.random.default_rng(0), []
    for number in range(60):
        files = []
        for crop in range(2):
            spread = random.uniform(10, 60)
            pixels = np.clip(random.normal(120, spread, (64, 128, 3)), 0, 255).astype(np.uint8)
            files.append(folder / f"{number}-{crop}.jpg")
            Image.fromarray(pixels).save(files[-1], quality=95)
        held_out, weighs = number % 3 == 0, number % 9 == 0
        made.append(PhotoFiles(tuple(files), f"source-{number % 12}", held_out, weighs, make="Maker"))
    flat = folder / "flat.jpg"
    Image.new("RGB", (128, 128), (9, 9, 9)).save(flat)
    return [*made, PhotoFiles((flat,), "source-0", held_out=False)]


def blurred(image, random):
    """Half of the images, on both axes."""
    if random.random() < 0.5:
        return image, Handling.AS_MADE
    soft = Image.fromarray(image.pixels).filter(ImageFilter.GaussianBlur(2))
    return replace(image, pixels=np.asarray(soft)), Handling.SOFT


WHITE = 501
"""A statistic that is over 0.9 for the photographs here and 0 after the blur."""


def telling_read_out() -> ReadOut:
    """Says of an image that it is soft unless its finest residuals are truncated, as those of white noise are."""
    read_out = silent_read_out()
    handling = np.zeros_like(read_out.handling)
    handling[WHITE, Handling.AS_MADE], handling[-1, Handling.SOFT] = 1.0, 0.5
    return replace(read_out, handling=handling)


def fitted(photos, detector=None, read_out=None):
    examined = Examined(
        detector or MeanColour(), Release.unversioned("new"), read_out or silent_read_out(), LimitSettings()
    )
    return fit_first(photos, blurred, examined)


def test_first_fit(photos):
    detector = MeanColour()
    model, card = fitted(photos, detector)
    assert (card["fit_photos"], card["calibration_photos"], card["weighing_photos"]) == (40, 13, 7)
    assert card["not_applicable"] == 1
    assert len(model.calibration_fused) == 13, "a photograph is one sample, however many crops there are of it"
    assert set(detector.patch_counts) <= {1, 2}, "two crops of two patches, each by itself"
    assert len(detector.patch_counts) == 2 * (40 + 40 + (13 + 7) * (1 + HISTORIES)), "twice where growth is measured"
    weights = [view["weight"] for view in card["views"].values()]
    assert sum(weights) == pytest.approx(1, abs=1e-3)
    assert max(weights) > 1.5 * min(weights), "what a blur does to one view it does not do to another"
    assert card["calibration_makes"] == {"Maker": 13}
    assert card["calibration_formats"] == {"JPEG": 13}


def test_a_photograph_weighs_the_same_in_each_stratum_that_it_falls_into(photos):
    model, card = fitted(photos, read_out=telling_read_out())
    as_made, handled, soft = model.strata
    assert len(as_made) == 13 * VERSIONS
    np.testing.assert_array_equal(handled, np.repeat(model.calibration_fused, VERSIONS), "there is none")
    assert len(soft) in (12 * VERSIONS, 13 * VERSIONS), "ten draws, each blurred with probability one half"
    assert card["calibration_photos_by_stratum"] == {"as_made": 13, "handled": 13, "soft": len(soft) // VERSIONS}
    assert model.photographs_alike == (13, 13, len(soft) // VERSIONS)
    # what is as made here was not touched, so each of them has its score as found
    np.testing.assert_allclose(as_made, np.repeat(model.calibration_fused, VERSIONS), rtol=1e-9)
    assert not np.isclose(soft[:, None], model.calibration_fused).any(), "what is blurred has another"


def test_fit_is_reproducible(photos):
    first, again = (fitted(photos, read_out=telling_read_out())[0] for _ in range(2))
    np.testing.assert_array_equal(first.calibration_fused, again.calibration_fused)
    for one, other in zip(first.strata, again.strata, strict=True):
        np.testing.assert_array_equal(one, other)


class Counting:
    """A detector that finds the number of patches, and a probability by it."""

    def detect(self, patches, model):
        count = len(patches.pixels)
        nothing = np.zeros((count, 528), np.float32)
        encoded = EncoderOutput(np.full(528, count, np.float32), nothing, np.zeros(3, np.float32))
        return DetectorOutput(encoded, {2: 0.2, 3: 0.5}.get(count, 0.9))


def test_each_crop_is_looked_at_by_itself_and_counts_by_its_windows(tmp_path):
    files = []
    for count in (2, 3, 20):
        files.append(tmp_path / f"{count}.png")
        noise = np.random.default_rng(count).integers(40, 200, (64, 64 * count, 3), dtype=np.uint8)
        Image.fromarray(noise).save(files[-1])
    hears_the_network = replace(silent_read_out(), joint=np.array([1.0, 0.0, 0.0]))
    for limit, patches, mean, expected in ((64, 25, 11.25, 0.7), (5, 5, 2.5, 1 / 3), (4, 4, 2, 0.2)):
        limits = LimitSettings(patch_budget=limit)
        examined = Examined(Counting(), Release.unversioned("new"), hears_the_network, limits)
        found = examined.detect(PhotoFiles(tuple(files), "source", held_out=True))
        assert found.traces.patch_counts == [patches]
        assert found.traces.embedding[0, 0] == pytest.approx(mean), "20 patches are two windows"
        assert found.ai_probability == pytest.approx(expected, abs=0.07), "of log-odds, the mean"
