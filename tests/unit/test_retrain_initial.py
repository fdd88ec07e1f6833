"""The first fit on a folder: one sample per photograph, calibration on the held-out ones only."""

import numpy as np
import pytest
from PIL import Image

from pipeline.records import DetectorOutput, EncoderOutput
from pipeline.release import Release
from pipeline.retrain.initial import PhotoFiles, fit_first
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
        made.append(PhotoFiles(tuple(files), f"source-{number % 12}", held_out=number % 3 == 0, make="Maker"))
    flat = folder / "flat.jpg"
    Image.new("RGB", (128, 128), (9, 9, 9)).save(flat)
    return [*made, PhotoFiles((flat,), "source-0", held_out=False)]


def test_first_fit(photos):
    detector = MeanColour()
    model, card = fit_first(photos, detector, Release.unversioned("new"), silent_read_out(), LimitSettings())
    assert (card["fit_photos"], card["calibration_photos"], card["not_applicable"]) == (40, 20, 1)
    assert len(model.calibration_fused) == 20, "a photograph is one sample, however many crops there are of it"
    assert set(detector.patch_counts) == {4}, "two crops of two patches each are looked at together"
    assert card["calibration_makes"] == {"Maker": 20}
    assert card["calibration_formats"] == {"JPEG": 20}


def test_fit_is_reproducible(photos):
    first, again = (
        fit_first(photos, MeanColour(), Release.unversioned("new"), silent_read_out(), LimitSettings())[0]
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.calibration_fused, again.calibration_fused)
