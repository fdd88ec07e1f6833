"""`lenswatch models card` on a release of empty weights and figures of made-up scores: no network runs."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.evaluation import report
from pipeline.evaluation.scoring import HeadScores, Scored
from pipeline.records import VerdictKind
from pipeline.release import FILES, Release
from tests import images
from workers.cli.models import app
from workers.model_card.markdown import flatten, table

ENCODER = {
    "tags": [
        {"name": "ISO", "kind": "rank"},
        {"name": "Make", "kind": "class", "classes": ["Apple", "Nikon"]},
    ],
    "training": {
        "data": "pretext",
        "patch_passes": 400000,
        "patch_passes_before": 70528,
        "minutes": 60.0,
        "recipe": {"seed": 0, "note": "a | b"},
        "held_out": {
            "ISO": {"images": 40, "accuracy": 0.685, "majority": 0.5},
            "Make": {"images": 30, "accuracy": 0.3, "majority": 0.4},
        },
    },
}
UNSEEN = {
    "folds": [
        {
            "family": family,
            "makes": makes,
            "real": 12,
            "ai": 34,
            "as_found": {head: {"auroc": area} for head in ("one_class", "binary", "fused")},
            "reencoded": {
                "one_class": {"auroc": 0.5},
                "binary": {"auroc": area - 0.1, "auroc_interval": [0.4, 0.9]},
                "fused": {"auroc": area - 0.1},
            },
        }
        for family, makes, area in (
            ("StyleGAN", ["Sony"], 0.8),
            ("GPT", ["Apple", "LG"], 0.9),
            ("StyleGAN", ["Apple"], 0.95),  # a family meets several groups of makes
        )
    ],
    "mean": {"as_found": {"fused": {"auroc": 0.85}}, "reencoded": {}},
    "worst": {"as_found": {"fused": {"auroc": 0.8}}, "reencoded": {}},
    "command": "lenswatch eval --unseen folders",
}


@pytest.fixture
def release(tmp_path):
    """A release without a card, as training leaves it."""
    folder = tmp_path / "small-9"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("{}" if name.endswith(".json") else name)
    (folder / "encoder.json").write_text(json.dumps(ENCODER))
    (folder / "one_class.json").write_text(json.dumps({"fit_photos": 1025, "calibration_photos": 304}))
    (folder / "MODEL_CARD.md").unlink()
    return folder


def _scored(name, group, suspicion, verdict=VerdictKind.CAMERA, sha256="0" * 64):
    p_value = 0.01 if verdict == VerdictKind.NOT_CAMERA else 0.5
    return Scored(name, sha256, group, verdict, HeadScores((suspicion,) * 3, (p_value,) * 3))


@pytest.fixture
def figures(release, tmp_path):
    """The JSON of an evaluation in which one Nikon is accused, and the generator `Br|ush` gets through."""
    random = np.random.default_rng(0)
    real = [_scored(f"r{n}.jpg", ("Nikon", "Apple")[n % 2], s) for n, s in enumerate(random.normal(0, 1, 20))]
    real[0] = _scored("accused.jpg", "Nikon", 9.0, VerdictKind.NOT_CAMERA)
    ai = [_scored(f"a{n}.png", "Br|ush", s) for n, s in enumerate(random.normal(0.5, 1, 10))]
    ai += [_scored(f"b{n}.png", "Pen", s, VerdictKind.NOT_CAMERA) for n, s in enumerate(random.normal(5, 1, 10))]
    blurred = [_scored(image.name, image.group, 0.0, VerdictKind.CAMERA) for image in ai]
    sets = {
        "as_found": {"real": real, "ai": ai},
        "reencoded": {"real": real, "ai": ai},
        "blur": {"real": real, "ai": blurred},
    }
    opened = Release.open(release, card=False)
    measured = {"promise": 0.02, "model": opened.name, "weights_sha256": opened.digest()}
    found = report(sets, 0.02) | measured | {"command": "lenswatch eval --degrade blur"}
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(found))
    return file


def run(*arguments):
    return CliRunner().invoke(app, ["card", *map(str, arguments)])


def section(card, title):
    return card.split(f"# {title}\n")[1].split("\n## ")[0].split("\n### ")[0]


def test_card_holds_figures_with_intervals_and_the_command_that_made_them(release, figures):
    done = run(release, "--eval", figures)
    assert done.exit_code == 0, done.output
    card, found = done.stdout, json.loads(figures.read_text())
    assert card.startswith("# small-9\n")
    low, high = found["reencoded"]["fused"]["auroc_interval"]
    row = next(
        line for line in section(card, "How good it is").splitlines() if line.startswith("| `reencoded` | fused")
    )
    assert f"| {found['reencoded']['fused']['auroc']:.3f} [{low:.3f}, {high:.3f}] |" in row
    assert "`lenswatch eval --degrade blur`" in card
    assert "| Br\\|ush | 10 |" in section(card, "Per generator")
    assert "| Nikon | 10 |" in section(card, "Per camera make")
    assert "| `blur` | AI images | 20 | 10 | 0 | 10 | 0 | 0.500 [" in section(card, "What became of verdicts")
    assert "![" not in card  # no plots on standard output


def test_card_says_how_it_was_made(release, figures):
    card = run(release, "--eval", figures).stdout
    assert "| `encoder.*` |" in section(card, "What it is")
    assert "| 470,528 | 60 |" in section(card, "What it is")
    assert "| training.recipe.note | a \\| b |" in card
    read = section(card, "What the encoder reads out of pixels")
    assert "| ISO | 40 | 0.685 | 0.5 | ranked |" in read
    assert "| Make | 30 | 0.3 | 0.4 | Apple, Nikon |" in read


def test_card_says_where_it_fails(release, figures):
    failures = section(run(release, "--eval", figures).stdout, "Where it fails")
    assert "Generators told apart least (AUROC, fused, re-encoded, from 5 images up): Br\\|ush" in failures
    assert "photographs called `not_camera` (share, re-encoded): Nikon 0.100" in failures
    assert "10 of 20 AI images under `blur`" in failures
    assert "commonest answer: Make." in failures
    assert "were not measured. Expect worse." in failures


@pytest.mark.parametrize(
    ("accused", "of", "says"),
    [
        (9, 60, "is broken: more photographs than promised"),
        (0, 300, "is over-kept: fewer photographs than promised"),
        (1, 60, ""),  # 2 % lie within the interval
    ],
)
def test_a_promise_is_judged_by_its_interval(release, figures, accused, of, says):
    found = json.loads(figures.read_text())
    real = [_scored("r", "Nikon", 0, VerdictKind.NOT_CAMERA if n < accused else VerdictKind.CAMERA) for n in range(of)]
    sets = {name: {"real": real, "ai": [_scored("a", "Pen", 1)]} for name in ("as_found", "reencoded")}
    figures.write_text(json.dumps(found | report(sets, 0.02)))
    failures = section(run(release, "--eval", figures).stdout, "Where it fails")
    assert ("the promise" in failures) == bool(says)
    assert says in failures


def test_worst_errors_are_named_and_not_shown(release, figures):
    worst = run(release, "--eval", figures).stdout.split("## Worst errors")[1]
    first = next(line for line in worst.splitlines() if line.startswith("| `"))
    assert first.startswith("| `accused.jpg` | `0000000000000000` | Nikon | `not_camera` | 0.010 |")
    assert ".png)" not in worst


def test_notes_are_put_in_as_they_stand(release, figures):
    notes = "Remarks by hand: *two* lines,\n\n- one | list."
    (release / "NOTES.md").write_text(notes + "\n")
    assert f"\n\n{notes}\n\n## What it is" in run(release, "--eval", figures).stdout


def test_unseen_generators_have_their_table(release, figures, tmp_path):
    file = tmp_path / "unseen.json"
    file.write_text(json.dumps(UNSEEN))
    card = run(release, "--eval", figures, "--unseen", file).stdout
    rows = section(card, "Generators and cameras left out")
    assert "| GPT | Apple, LG | 12 | 34 | 0.900 | 0.900 | 0.900 | 0.500 | 0.800 [0.400, 0.900] | 0.800 |" in rows
    assert "| **mean** |  |  |  | - | - | 0.850 | - | - | - |" in rows
    assert "`lenswatch eval --unseen folders`" in rows
    assert "StyleGAN with Sony are told apart least (AUROC 0.700" in section(card, "Where it fails")


def test_plots_lie_beside_the_card(release, figures):
    done = run(release, "--eval", figures, "--out", release / "MODEL_CARD.md")
    assert done.exit_code == 0, done.output
    card = (release / "MODEL_CARD.md").read_text()
    linked = [part.split(")")[0] for part in card.split("](")[1:]]
    assert sorted(linked) == sorted(f"plots/{file.name}" for file in (release / "plots").iterdir())
    Release.open(release)  # complete now


def test_plots_are_the_same_bytes_for_the_same_figures(release, figures):
    drawn = []
    for _ in range(2):
        run(release, "--eval", figures, "--out", release / "MODEL_CARD.md")
        drawn.append({file.name: file.read_bytes() for file in (release / "plots").iterdir()})
        shutil.rmtree(release / "plots")
    assert drawn[0] == drawn[1]


def test_pictures_are_of_the_named_bytes_and_ignored_by_git(release, figures, tmp_path):
    for name in ("real", "ai"):
        (tmp_path / name).mkdir()
    content = images.png(images.photo(300, 600))
    (tmp_path / "real" / "accused.jpg").write_bytes(content)
    (tmp_path / "real" / "r2.jpg").write_bytes(images.png())  # named, but other bytes than were scored
    found = json.loads(figures.read_text())
    found["worst_errors"]["real"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    figures.write_text(json.dumps(found))
    folders = ("--real", tmp_path / "real", "--ai", tmp_path / "ai")
    done = run(release, "--eval", figures, *folders, "--pictures", tmp_path / "pictures")
    assert done.exit_code == 0, done.output
    drawn = sorted(file.name for file in (tmp_path / "pictures").iterdir())
    assert drawn == [".gitignore", f"real-01-{hashlib.sha256(content).hexdigest()[:8]}.png"]
    assert (tmp_path / "pictures" / ".gitignore").read_text() == "*\n"


def test_figures_of_other_weights_are_refused(release, figures):
    (release / "one_class.npz").write_text("fitted again")
    done = run(release, "--eval", figures)
    assert done.exit_code == 2
    assert "other weights" in done.output


def test_figures_by_another_name_are_refused(release, figures):
    """Verdicts are of the code, too: the same weights may have been measured under other rules."""
    found = json.loads(figures.read_text())
    figures.write_text(json.dumps(found | {"model": "another"}))
    done = run(release, "--eval", figures)
    assert done.exit_code == 2
    assert "measured on another" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--pictures", "out"], "needs --real and --ai"),
        ([], "needs --real and --ai"),
    ],
)
def test_folders_are_asked_for_where_images_are_needed(release, figures, arguments, says):
    with_eval = ["--eval", figures] if arguments else []
    done = run(release, *with_eval, *arguments)
    assert done.exit_code == 2
    assert says in done.output


def test_options_are_for_a_folder():
    done = run("champion", "--out", "card.md")
    assert done.exit_code == 2
    assert "no release folder" in done.output


def test_markdown_keeps_wide_things_short():
    makes = {f"make {n}": n for n in range(9)}
    rows = dict(flatten({"tried": [{"axes": 8}, {"axes": 16}], "makes": makes, "few": {"a": 1, "b": [1, 2.5, True]}}))
    assert rows["tried"] == "2 entries, in the file"
    assert rows["makes"].startswith("make 0 0, make 1 1")
    assert (rows["few.a"], rows["few.b"]) == ("1", "1, 2.5, yes")
    assert table(("a",), [["x\ny|<b>"]]).splitlines()[-1] == "| x y\\|&lt;b> |"
