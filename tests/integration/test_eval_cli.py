"""`lenswatch eval` with the shipped release, on a handful of images of 128 x 96 px."""

import json

import pytest
from typer.testing import CliRunner

from pipeline.settings import DEFAULT_RELEASE
from tests import images
from workers.cli import app


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    real, ai = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("ai")
    (ai / "brush-1").mkdir()
    for number in range(4):
        (real / f"{number}.jpg").write_bytes(images.camera_jpeg(seed=number))
    (real / "bare.jpg").write_bytes(images.jpeg(images.photo(seed=4)))  # without EXIF
    for number in range(5):
        inside = ai if number < 3 else ai / "brush-1"
        (inside / f"{number}.png").write_bytes(images.png(images.photo(seed=100 + number)))
    (ai / "manifest.csv").write_text("file,generator\n" + "".join(f"{number}.png,Brush 2\n" for number in range(3)))
    (ai / "flat.png").write_bytes(images.png(images.flat()))  # cannot be scored: left out, and counted so
    return real, ai


@pytest.fixture(scope="module")
def written(folders, tmp_path_factory):
    """The folder with the JSON and the plots of one run under three conditions."""
    (real, ai), out = folders, tmp_path_factory.mktemp("out")
    arguments = ["eval", "--real", str(real), "--ai", str(ai), "--degrade", "jpeg_70,half_size"]
    done = CliRunner().invoke(app, [*arguments, "--json", str(out / "figures.json"), "--plots", str(out / "plots")])
    assert done.exit_code == 0, done.output
    assert "What became of verdicts" in done.output
    return out


@pytest.fixture(scope="module")
def figures(written):
    return json.loads((written / "figures.json").read_text())


def test_figures_of_every_head_and_condition_with_intervals(figures):
    assert list(figures)[:4] == ["as_found", "reencoded", "jpeg_70", "half_size"]
    for name in ("as_found", "reencoded", "jpeg_70"):
        condition = figures[name]
        assert condition["images"] == {"real": 5, "ai": 5}
        assert condition["verdicts"]["ai"]["not_applicable"] == 1
        groups = [*condition["by_generator"].values(), *condition["by_make"].values()]
        for rows in (condition, *(group for group in groups if group["images"])):
            for head in ("one_class", "binary", "fused"):
                for figure in ("auroc", "ap", "tpr_at_fpr_2", "tpr_at_fpr_6.5", "fpr_at_promise"):
                    low, high = rows[head][f"{figure}_interval"]
                    assert low - 1e-9 <= rows[head][figure] <= high + 1e-9


def test_groups_come_from_exif_the_manifest_and_sub_folders(figures):
    condition = figures["as_found"]
    assert {name: row["images"] for name, row in condition["by_make"].items()} == {"Lenswatch": 4, "unknown": 1}
    assert {name: row["images"] for name, row in condition["by_generator"].items()} == {
        "Brush 2": 3,  # named in the manifest
        "brush-1": 2,  # a sub-folder
        "unknown": 0,  # the flat one
    }
    assert "fused" not in condition["by_generator"]["unknown"]


def test_images_too_small_once_halved_are_counted_and_not_scored(figures):
    assert figures["half_size"]["images"] == {"real": 0, "ai": 0}
    assert "fused" not in figures["half_size"]
    assert figures["flips"]["half_size"]["real"]["not_applicable"] == 5


def test_flips_of_every_condition_but_their_own_start(figures):
    assert list(figures["flips"]) == ["as_found", "jpeg_70", "half_size"]
    row = figures["flips"]["jpeg_70"]["ai"]
    assert row["images"] == 6
    assert row["same"] + row["unsure"] + row["flipped"] + row["not_applicable"] == 6
    assert row["not_applicable"] == 1


def test_the_json_says_what_made_it_and_names_no_path_of_this_machine(figures, written):
    assert figures["model"] == DEFAULT_RELEASE.name
    assert len(figures["weights_sha256"]) == 64
    assert figures["command"].startswith("lenswatch eval --real real")
    assert "--degrade jpeg_70,half_size --json figures.json --plots plots" in figures["command"]
    assert str(written.parent) not in (written / "figures.json").read_text()
    assert [error["file"] for error in figures["worst_errors"]["ai"]] != []


def test_plots_are_small_files_on_white(written):
    plots = sorted((written / "plots").iterdir())
    assert [plot.name for plot in plots] == ["flips.svg", "generators.svg", "histograms.svg", "makes.svg", "roc.svg"]
    for plot in plots:
        text = plot.read_text()
        assert len(text) < 150_000
        assert "fill: #ffffff" in text
    assert "Brush 2 (3)" in (written / "plots" / "generators.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--degrade", "sepia"], "unknown condition"),
        (["--real", "nowhere"], "does not exist"),
        (["--release", "nowhere"], "not a release"),
    ],
)
def test_what_cannot_be_done_is_said(folders, arguments, says):
    real, ai = folders
    done = CliRunner().invoke(app, ["eval", "--real", str(real), "--ai", str(ai), *arguments])
    assert done.exit_code != 0
    assert says in done.output or says in str(done.exception)
