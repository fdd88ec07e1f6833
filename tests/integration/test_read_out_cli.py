"""`lenswatch train read-out`, `train one-class` and `eval --unseen` on two small folders, with the shipped networks."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.encoder.data import is_held_out
from pipeline.one_class import VIEWS
from pipeline.read_out import ReadOut
from pipeline.records import SELF_DESCRIPTION_DIM
from pipeline.release import Release
from pipeline.settings import DEFAULT_RELEASE
from workers.cli import app

SIDE = 128


def noisy(random, *, generated):
    """A photograph has noise of its own in each colour; a "generated" image has the same in all three."""
    slope = np.linspace(40, 200, SIDE)[:, None, None] * random.uniform(0.6, 1.2, (1, 1, 3))
    noise = random.normal(0, 4, (SIDE, SIDE, 1 if generated else 3))
    return Image.fromarray(np.clip(slope + noise, 0, 255).astype(np.uint8))


def make_folder(folder, columns, rows, *, generated):
    folder.mkdir()
    random = np.random.default_rng(generated)
    with (folder / "manifest.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["file", "source_repo", "source_path", *columns])
        for number, row in enumerate(rows):
            name = f"{number:03}.png"
            noisy(random, generated=generated).save(folder / name)
            writer.writerow([name, row[0], name, *row[1:]])
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    photographs = [(f"photos/{n % 30}", f"model {n % 45}", ("Apple", "Canon", "NIKON")[n % 3]) for n in range(90)]
    generated = [(f"pictures/{n % 10}", ("DALL-E 3", "Midjourney v6")[n % 2]) for n in range(40)]
    assert {is_held_out(row[0], row[1]) for row in generated} == {True, False}, "the test needs both sides"
    return (
        make_folder(root / "photographs", ("model", "Make"), photographs, generated=False),
        make_folder(root / "generated", ("generator",), generated, generated=True),
    )


def lenswatch(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def release(folders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases") / "small-9"
    shutil.copytree(DEFAULT_RELEASE, folder)
    (folder / "read_out.npz").unlink()
    real, ai = folders
    lenswatch("train", "read-out", "--data", real, "--ai", ai, "--release", folder)
    return folder


def test_the_read_out_learns_what_tells_them_apart(release):
    card = json.loads((release / "read_out.json").read_text())
    assert card["weights"]["statistics"] > 0
    assert card["crops"]["ai"] == 40
    read_out = ReadOut.from_bytes((release / "read_out.npz").read_bytes())
    assert read_out.weights.any()


def test_one_class_fits_every_view(release, folders):
    lenswatch("train", "one-class", "--data", folders[0], "--release", release)
    model = Release.open(release).scorer().model
    card = json.loads((release / "one_class.json").read_text())
    assert set(card["views"]) == set(VIEWS)
    assert card["weights"] == {"log_likelihood": 0.2, "ai_logit": 1.0}
    assert model.image.means.mixture.axes.shape == (SELF_DESCRIPTION_DIM // 2, card["views"]["means"]["axes"])
    assert sum(view["weight"] for view in card["views"].values()) == pytest.approx(1, abs=1e-3)
    assert len(model.calibration_log_likelihood) == card["calibration_photos"]


def test_unseen_families_and_phones(release, folders, tmp_path):
    file = tmp_path / "unseen.json"
    printed = lenswatch(
        "eval", "--unseen", "--real", folders[0], "--ai", folders[1], "--release", release, "--json", file
    )
    figures = json.loads(file.read_text())
    assert [(fold["family"], fold["makes"]) for fold in figures["folds"]] == [
        ("dall-e", ["apple"]),
        ("midjourney", ["apple"]),
    ]
    assert figures["worst"]["reencoded"]["fused"]["auroc"] > 0.9
    assert figures["command"].startswith("lenswatch eval --unseen --real photographs --ai generated")
    assert "worst" in printed
