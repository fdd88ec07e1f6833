"""EXIF claims against what the heads read."""

import numpy as np
import pytest

from pipeline.records import ExifFacts
from pipeline.score import ExifTag, class_of, compare_exif

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


def test_class_of_number():
    assert class_of(16, ("0", "16")) == 1


def test_predictions_stand_beside_claims():
    outputs = np.array([9.0, 0.0, np.log(3), 0.0, 0.0], dtype=np.float32)
    make, flash = compare_exif(TAGS, outputs, ExifFacts({"Make": "Apple"}, "exiftool"))
    assert (make.tag, make.predicted, make.claimed) == ("Make", "Nikon", "Apple")
    assert make.probability == pytest.approx(0.75)
    assert make.claimed_probability == pytest.approx(0.25)
    assert (flash.claimed, flash.claimed_probability) == (None, None)
