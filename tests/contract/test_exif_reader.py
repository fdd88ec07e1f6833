"""The port `ExifReader`: ExifTool and Pillow read the same of the same file, and ExifTool's failures are survived."""

import csv
import shutil
import stat
import time

import pytest

from pipeline.adapters.exiftool import ExifToolReader
from pipeline.adapters.pillow_exif import PillowExifReader
from pipeline.provenance import find_claims
from tests import images
from tests.paths import SHARED, needs

pytestmark = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="needs ExifTool (apt install libimage-exiftool-perl)"
)

SETTINGS = {
    "FNumber": 2.8,
    "ExposureTime": 0.01,
    "ISOSpeedRatings": 200,
    "FocalLength": 35.0,
    "FocalLengthIn35mmFilm": 52,
    "ApertureValue": 3.0,
    "ShutterSpeedValue": 6.0,
    "ExposureBiasValue": -0.5,
    "Flash": 16,
    "MeteringMode": 5,
    "Orientation": 6,
    "DateTimeOriginal": "2026:01:02 03:04:05",
    "Software": "1.10",
    "LensModel": "Test 35mm",
}
EXPECTED = {
    "Make": "Lenswatch",
    "Model": "TestCam 0.50",
    "FNumber": 2.8,
    "ExposureTime": 0.01,
    "ISO": 200,
    "FocalLength": 35.0,
    "FocalLengthIn35mmFormat": 52,
    "ApertureValue": 2**1.5,
    "ShutterSpeedValue": 2**-6,
    "ExposureCompensation": -0.5,
    "Flash": 16,
    "MeteringMode": 5,
    "Orientation": 6,
    "DateTimeOriginal": "2026:01:02 03:04:05",
    "Software": "1.10",  # not the number 1.1
    "LensModel": "Test 35mm",
}


@pytest.fixture(scope="module")
def exiftool():
    with ExifToolReader(timeout=10) as reader:
        yield reader


@pytest.fixture(params=["exiftool", "pillow"])
def reader(request):
    return request.getfixturevalue("exiftool") if request.param == "exiftool" else PillowExifReader()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
def test_camera_settings(reader, format):
    block = images.exif("Lenswatch ", "TestCam 0.50", **SETTINGS)
    facts, _ = reader.read(images.encode(images.photo(), format, exif=block), format)
    expected = dict(EXPECTED)
    if format in ("HEIF", "AVIF"):  # their writers move the orientation to the container
        expected["Orientation"] = facts.tags.get("Orientation")
    for name, value in expected.items():
        found = facts.tags.get(name)
        assert found == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), name
    assert facts.tags.keys() <= expected.keys() | {"ColorSpace"}
    assert facts.warnings == ()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_file_without_metadata_claims_nothing(reader, format):
    facts, raw = reader.read(images.encode(images.photo(), format), format)
    assert dict(facts.tags) == {}
    assert find_claims(raw) == ()


def test_text_chunks_reach_the_provenance_stage(reader):
    _, raw = reader.read(images.png(text={"parameters": "Steps: 20, Sampler: Euler"}), "PNG")
    assert [claim.value for claim in find_claims(raw)] == ["Stable Diffusion"]


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"\0" * 1000, images.camera_jpeg()[:200]])
def test_broken_files_are_no_error(reader, content):
    facts, _ = reader.read(content, "JPEG")
    assert facts.tags.keys() <= {"Make", "Model"}


def test_arguments_hold_nothing_of_the_file(exiftool):
    hostile = images.camera_jpeg(make="-o /tmp/x\n-execute\n", model="{ready}")
    facts, _ = exiftool.read(hostile, "JPEG")
    assert facts.make == "-o /tmp/x-execute"
    assert exiftool.read(images.camera_jpeg(), "JPEG")[0].make == "Lenswatch"  # still in step


@pytest.mark.parametrize("part", ["originals", "real_eval"])
@needs(SHARED / "data")
def test_make_and_model_equal_the_manifest(reader, part):
    folder = SHARED / "data" / part
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wrong = []
    for row in rows:
        facts, _ = reader.read((folder / row["file"]).read_bytes(), "JPEG")
        if (facts.make or "", facts.model or "") != (row["Make"], row["Model"]):
            wrong.append((row["file"], facts.make, facts.model))
    assert not wrong
    assert rows


VERSION_THEN = """#!/usr/bin/env python3
import re, sys, time
arguments = sys.stdin
for line in arguments:
    if line.startswith("=${status}="):
        marker = line.strip().replace("${status}", "0")
    elif found := re.match(r"-execute(\\d+)", line):
        if not hasattr(sys, "asked"):
            sys.asked = True
            print("12.57\\n{ready%s}" % found[1], flush=True)
            print(marker, file=sys.stderr, flush=True)
        else:
            FAIL
"""


@pytest.mark.parametrize(
    "failure",
    [
        "time.sleep(600)",
        "sys.exit(1)",
        "print('no json {ready%s}' % found[1], flush=True); print(marker, file=sys.stderr, flush=True)",
    ],
)
def test_a_failing_exiftool_is_put_down_and_pillow_stands_in(tmp_path, failure):
    program = tmp_path / "exiftool"
    program.write_text(VERSION_THEN.replace("FAIL", failure))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with ExifToolReader(timeout=1, executable=str(program)) as reader:
        for _ in range(2):  # the second one needs a new process
            started = time.monotonic()
            facts, _raw = reader.read(images.camera_jpeg("Canon"), "JPEG")
            assert time.monotonic() - started < 5
            assert (facts.reader, facts.make) == ("pillow", "Canon")
            assert "ExifTool failed" in facts.warnings[0]


def test_a_missing_exiftool_is_said():
    facts, _ = ExifToolReader(timeout=1, executable="no-such-program").read(images.camera_jpeg("Canon"), "JPEG")
    assert (facts.reader, facts.make) == ("pillow", "Canon")
