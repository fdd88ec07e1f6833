"""`lenswatch eval` with the shipped release, on a handful of images."""

import json

import pytest
from typer.testing import CliRunner

from tests import images
from workers.cli import app


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    real, ai = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("ai")
    for number in range(5):
        (real / f"{number}.jpg").write_bytes(images.jpeg(images.photo(seed=number)))
        (ai / f"{number}.png").write_bytes(images.png(images.photo(seed=100 + number)))
    (ai / "flat.png").write_bytes(images.png(images.flat()))  # cannot be scored: left out, and counted so
    return real, ai


def test_figures_of_every_head_and_condition_with_intervals(folders, tmp_path):
    real, ai = folders
    written = tmp_path / "figures.json"
    arguments = ["eval", "--real", str(real), "--ai", str(ai), "--degrade", "jpeg_70", "--json", str(written)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    figures = json.loads(written.read_text())
    assert list(figures) == ["as_found", "reencoded", "jpeg_70"]
    for condition in figures.values():
        assert condition["images"] == {"real": 5, "ai": 5}
        for head in ("one_class", "binary", "fused"):
            for name in ("auroc", "ap", "tpr_at_fpr_2", "tpr_at_fpr_6.5", "fpr_at_promise"):
                low, high = condition[head][f"{name}_interval"]
                assert low - 1e-9 <= condition[head][name] <= high + 1e-9


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--degrade", "sepia"], "unknown condition"),
        (["--release", "nowhere"], "not a release"),
    ],
)
def test_what_cannot_be_done_is_said(folders, arguments, says):
    real, ai = folders
    done = CliRunner().invoke(app, ["eval", "--real", str(real), "--ai", str(ai), *arguments])
    assert done.exit_code != 0
    assert says in done.output or says in str(done.exception)
