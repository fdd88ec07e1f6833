"""The sample images of `lenswatch up`."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import ExifTags, Image

from pipeline.decode import decode
from pipeline.patches import NotApplicable, cut
from pipeline.settings import LimitSettings
from workers.local.camera import SimulatedCamera
from workers.local.samples import write_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("samples") / "new")


def test_every_sample_decodes_and_has_patches_unless_it_is_drawn(samples):
    assert len(samples) == len({path.name for path in samples}) == 9
    drawn = set()
    for path in samples:
        image = decode(path.read_bytes(), LimitSettings())
        try:
            assert len(cut(image, 64).corners) >= 60, path.name
        except NotApplicable:
            drawn.add(path.name)
    assert drawn == {"rendered_shapes.png", "rendered_screenshot.png"}


def test_simulated_photographs_carry_a_cameras_exif(samples):
    simulated = [path for path in samples if path.name.startswith("simulated")]
    isos = []
    for path in simulated:
        exif = Image.open(path).getexif()
        assert exif[ExifTags.Base.Make] == "Lenswatch"
        isos.append(exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings])
    assert isos == [100, 400, 1600, 3200]


def test_noise_grows_with_the_iso():
    grey = np.full((64, 64, 3), 0.2)
    quiet, loud = (SimulatedCamera("x", iso, Fraction(1, 60), 4, 35, 95).photograph(grey, 0) for iso in (100, 3200))
    deviations = [decode(content, LimitSettings()).pixels.std() for content in (quiet, loud)]
    assert 0.2 < deviations[0] < deviations[1] / 2


def test_the_same_bytes_every_time(samples, tmp_path):
    again = write_samples(tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in samples]


def test_originals_are_added_where_they_are(tmp_path):
    originals = tmp_path / "shared" / "data" / "originals"
    originals.mkdir(parents=True)
    (originals / "a.jpg").write_bytes(b"bytes")
    paths = write_samples(tmp_path / "out", tmp_path / "shared")
    assert paths[-1].name == "original_a.jpg"
    assert paths[-1].read_bytes() == b"bytes"
    assert len(paths) == 10
    assert len(write_samples(tmp_path / "out", tmp_path / "nowhere")) == 9
