"""`lenswatch score` with the shipped release: every file gets its line, whatever it is."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from tests import images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("score")
    (folder / "deep").mkdir()
    (folder / "deep" / "photo.bin").write_bytes(images.camera_jpeg("Canon", "EOS"))  # the name does not matter
    (folder / "=cmd.jpg").write_bytes(images.png(images.photo(seed=1), text={"parameters": "x"}))
    (folder / "broken.jpg").write_bytes(images.jpeg()[:-500])
    (folder / "flat.png").write_bytes(images.png(images.flat()))
    (folder / "empty.jpg").write_bytes(b"")
    (folder / ".hidden.jpg").write_bytes(images.jpeg())
    return folder


def lenswatch(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "workers", "score", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def answers(folder):
    missing = folder / "missing.jpg"
    lines = lenswatch(folder, missing, "--json", "--heatmap", folder.parent / "maps").stdout.splitlines()
    return {os.path.basename(answer["file"]): answer for answer in map(json.loads, lines)}


def test_every_file_has_its_line(answers):
    found = {name: (answer["verdict"], answer["reason"]) for name, answer in answers.items()}
    assert found.keys() == {"photo.bin", "=cmd.jpg", "broken.jpg", "flat.png", "empty.jpg", "missing.jpg"}
    assert found["broken.jpg"] == ("rejected", "truncated")
    assert found["empty.jpg"] == ("rejected", "empty")
    assert found["missing.jpg"] == ("rejected", "object_missing")
    assert found["flat.png"] == ("not_applicable", "flat")
    assert found["photo.bin"][0] in ("camera", "unsure", "not_camera")


def test_a_scored_file_has_its_evidence(answers):
    photo = answers["photo.bin"]
    assert 0 <= photo["percentile"] <= 100
    assert 0 < photo["p_value"] <= 1
    assert 0 <= photo["ai_probability"] <= 1
    assert photo["exif"]["Make"] == "Canon"
    assert list(photo["timings_ms"]) == ["decode", "exif", "provenance", "patches", "detect", "score", "second_look"]
    assert photo["exif_predictions"]
    assert answers["=cmd.jpg"]["provenance"][0]["value"] == "Stable Diffusion"


def test_heat_maps_are_drawn_for_what_was_scored(answers, folder):
    maps = sorted((folder.parent / "maps").iterdir())
    assert [path.name.split(".")[0] for path in maps] == ["=cmd", "photo"]
    assert Image.open(maps[0]).size == (128, 96)


def test_csv_and_table(folder):
    rows = list(csv.DictReader(io.StringIO(lenswatch(folder, "--csv").stdout)))
    assert len(rows) == 5
    table = lenswatch(folder / "broken.jpg").stdout
    assert "rejected (truncated)" in table
