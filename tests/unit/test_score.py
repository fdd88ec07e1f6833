"""EXIF claims against what the heads read."""

import json

import numpy as np
import pytest

from pipeline.records import ExifFacts
from pipeline.release import Release
from pipeline.score import ExifTag, class_of, compare_exif
from pipeline.settings import DEFAULT_RELEASE

TAGS = (ExifTag("FNumber", None), ExifTag("Make", ("Apple", "Nikon")), ExifTag("Flash", ("0", "16")))


@pytest.mark.parametrize(
    ("value", "index"),
    [
        ("Apple", 0),
        ("NIKON CORPORATION", 1),  # makers spell their names in several ways
        ("nikon ", 1),
        ("Canon", None),  # not a class
        (None, None),
    ],
)
def test_class_of_make(value, index):
    assert class_of(value, ("Apple", "Nikon")) == index


def test_a_maker_in_short_is_the_class_in_full():
    assert class_of("NIKON", ("Apple", "NIKON CORPORATION")) == 1
    assert class_of("Canon", ("Canon EOS 5D", "Canon EOS R6")) is None, "one of two"


def test_class_of_number():
    assert class_of(16, ("0", "16")) == 1


def test_a_head_no_better_than_a_guess_says_so():
    release = Release.open(DEFAULT_RELEASE)
    measured = json.loads((release.folder / "encoder.json").read_text())["training"]["held_out"]
    informed = {tag.name for tag in release.scorer().tags if tag.is_informed}
    assert informed == {name for name, found in measured.items() if found["accuracy"] > found["majority"]}
    [make] = compare_exif(
        [ExifTag("Make", ("Apple", "Nikon"), is_informed=False)], np.zeros(2), ExifFacts({}, "pillow")
    )
    assert not make.is_informed


def test_predictions_stand_beside_claims():
    outputs = np.array([9.0, 0.0, np.log(3), 0.0, 0.0], dtype=np.float32)
    make, flash = compare_exif(TAGS, outputs, ExifFacts({"Make": "Apple"}, "exiftool"))
    assert (make.tag, make.predicted, make.claimed) == ("Make", "Nikon", "Apple")
    assert make.probability == pytest.approx(0.75)
    assert make.claimed_probability == pytest.approx(0.25)
    assert (flash.claimed, flash.claimed_probability) == (None, None)
