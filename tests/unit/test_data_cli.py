"""`lenswatch data scan`."""

import csv
import json

import pytest
from typer.testing import CliRunner

from tests.images import camera_jpeg, jpeg, photo
from workers.cli import app


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trip").mkdir()
    for number in range(3):
        (tmp_path / "trip" / f"{number}.jpg").write_bytes(camera_jpeg(seed=number, Software=f"GIMP {number}"))
    (tmp_path / "trip" / "[bold].jpg").write_bytes(jpeg(photo(200, 200))[:-900])
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["data", "scan", *map(str, arguments)])


def test_json_names_counts_and_files(folder):
    done = run(folder, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["flags"]["editor"] == 3
    assert answer["unreadable_files"][0]["file"] == "trip/[bold].jpg"
    assert len(answer["tags"]) == 14
    assert not (folder / "manifest.csv").exists(), "a report changes nothing"


def test_the_table_names_bad_files(folder):
    done = run(folder)
    assert done.exit_code == 0, done.output
    assert "trip/[bold].jpg: truncated" in done.output
    assert "BrightnessValue" in done.output


def test_the_manifest_leaves_out_what_is_asked(folder):
    (folder / "plain.jpg").write_bytes(camera_jpeg(seed=9))
    assert run(folder, "--manifest", folder / "manifest.csv", "--leave-out", "editor").exit_code == 0
    with (folder / "manifest.csv").open(newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["plain.jpg"]


@pytest.mark.parametrize("arguments", [["--leave-out", "ugly"], []], ids=["unknown flag", "no image"])
def test_usage_errors(arguments, tmp_path):
    assert run(tmp_path, *arguments).exit_code == 2
