"""The port `ExifReader`: ExifTool and Pillow read the same of the same file, and ExifTool's failures are survived."""

import csv
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from pipeline.adapters.exiftool import ExifToolReader
from pipeline.adapters.pillow_exif import PillowExifReader
from pipeline.provenance import find_claims
from tests import images
from tests.paths import SHARED, needs

ROOT = Path(__file__).parents[2]

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


# Failures of ExifTool ------------------------------------------------------------------------------------------------

PROGRAM = """#!{python}
import os, signal, sys, time
if os.path.exists({marker!r}):  # started once before
    os.execvp("exiftool", ["exiftool", *sys.argv[1:]])
open({marker!r}, "w").close()
asked = []
for line in sys.stdin:
    asked.append(line.strip())
    if line.startswith("-execute"):
        ready = (b"{{ready%d}}\\n" % int(line[8:]))
        write = sys.stdout.buffer.write
        {failure}
        write(ready)
        sys.stdout.flush()
"""
"""Fails at its first start, and is ExifTool at the second."""


@pytest.fixture
def failing(tmp_path):
    """Maker of a reader whose first ExifTool does `failure` where it should answer."""
    readers = []

    def make(failure: str, timeout: float = 2.0) -> ExifToolReader:
        program = tmp_path / "exiftool"
        program.write_text(PROGRAM.format(python=sys.executable, marker=str(tmp_path / "started"), failure=failure))
        program.chmod(0o755)
        readers.append(ExifToolReader(timeout=timeout, executable=str(program)))
        return readers[-1]

    yield make
    for reader in readers:
        reader.close()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def assert_pillow_stands_in(reader, within: float) -> None:
    started = time.monotonic()
    facts, _ = reader.read(images.camera_jpeg("Canon"), "JPEG")
    assert time.monotonic() - started < within
    assert (facts.reader, facts.make) == ("pillow", "Canon")
    assert "ExifTool failed" in facts.warnings[0]


def assert_exiftool_is_back(reader) -> None:
    reader._timeout = 20  # a busy machine starts Perl slowly
    facts, _ = reader.read(images.camera_jpeg("Nikon"), "JPEG")
    assert (facts.reader, facts.make, facts.warnings) == ("exiftool", "Nikon", ())


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param("time.sleep(600)", id="silent"),
        pytest.param("write(b'[{}]'); sys.stdout.flush(); time.sleep(600)", id="never ready"),
        pytest.param("os.kill(os.getpid(), signal.SIGSTOP)", id="stopped"),
        pytest.param("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", id="deaf to SIGTERM"),
        pytest.param("sys.exit(1)", id="ends"),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", id="killed while reading"),
        pytest.param("write(b'[{'); sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)", id="killed in its word"),
        pytest.param("write(b'no json')", id="no JSON"),
        pytest.param("pass", id="empty"),
        pytest.param("write(b'[]')", id="no file"),
        pytest.param("write(b'{}')", id="an object"),
        pytest.param("write(b'[1]')", id="a number"),
        pytest.param("write(b'[null, null]')", id="two files"),
        pytest.param("write(b'[' * 1_000_000)", id="deeply nested"),
        pytest.param('write(b\'[{"SourceFile": "/etc/passwd", "EXIF:Make": "Evil"}]\')', id="another file"),
        pytest.param('write(b\'[{"SourceFile": "\\xff\\xfe"}]\')', id="not UTF-8"),
        pytest.param("ready = b'{ready7}\\n'", id="the answer to another question"),
        pytest.param("[write(b'x' * 1_000_000) for _ in iter(int, 1)]", id="endless"),
        pytest.param("[sys.stderr.write('x' * 1_000_000) for _ in range(100)]; sys.exit()", id="talks to stderr"),
    ],
)
def test_pillow_stands_in_for_an_exiftool_that_fails_and_the_next_file_gets_a_new_one(failing, failure):
    before, descriptors = children(), len(os.listdir("/proc/self/fd"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader = failing(failure)
    assert_pillow_stands_in(reader, within=8)
    assert children() == before  # the failed one is gone
    assert_exiftool_is_back(reader)
    reader.close()
    assert children() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200_000  # KiB


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_an_exiftool_that_dies_or_stops_between_two_files(exiftool, number):
    with ExifToolReader(timeout=20) as reader:
        before = children()
        assert reader.read(images.camera_jpeg("Nikon"), "JPEG")[0].reader == "exiftool"
        (process,) = children() - before
        os.kill(process, number)
        reader._timeout = 1.0
        assert_pillow_stands_in(reader, within=6)
        assert process not in children()
        assert_exiftool_is_back(reader)


@pytest.mark.parametrize("executable", ["no-such-program", "/dev/null", "/"])
def test_a_missing_exiftool_is_said(executable):
    before = children()
    with ExifToolReader(timeout=5, executable=executable) as reader:
        assert_pillow_stands_in(reader, within=6)
    assert children() == before


READS_ONE = """
import sys, time
from pipeline.adapters.exiftool import ExifToolReader
from tests import images
reader = ExifToolReader(timeout=20)
print(reader.read(images.camera_jpeg("Canon"), "JPEG")[0].reader, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("hung", [False, True])
def test_exiftool_dies_with_a_worker_that_is_killed(tmp_path, hung):
    """Even one that hangs, and nothing of the upload is left on a disk."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", READS_ONE], stdout=subprocess.PIPE, cwd=ROOT, env=environment
    ) as worker:
        assert worker.stdout.readline() == b"exiftool\n"
        (process,) = psutil.Process(worker.pid).children()
        if hung:
            process.suspend()
        worker.kill()
    assert psutil.wait_procs([process], timeout=10)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_no_disk_is_needed(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    with ExifToolReader(timeout=20) as reader:
        assert_exiftool_is_back(reader)


def test_where_the_bytes_cannot_be_handed_over_pillow_stands_in():
    """As where memory is short: every write of over a hundred bytes to a file fails."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n{READS_ONE.replace('60', '0')}"
    said = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, cwd=ROOT, check=True)
    assert said.stdout.splitlines()[-1] == "pillow"
    assert "exiftool_failed" in said.stdout
