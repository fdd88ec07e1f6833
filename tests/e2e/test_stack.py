"""One whole real stack, and everything that goes through it: photographs and AI images, `lenswatch bench`, an `up`
that is in a hurry.

`LENSWATCH_E2E_FILES` says how many files of each evaluation folder go through (default 3; the release check takes 50).
"""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from pipeline.adapters.exiftool import ExifToolReader
from pipeline.adapters.local import LocalDetector
from pipeline.examine import Examiner
from pipeline.records import STAGES, StoredObject
from pipeline.release import Release
from pipeline.settings import DEFAULT_RELEASE
from pipeline.store import VerdictView
from tests.paths import SHARED, needs
from workers.cli import app
from workers.local import showcase
from workers.local.launch import Launched, launched

DATA = SHARED / "data"
PER_FOLDER = int(os.environ.get("LENSWATCH_E2E_FILES", "3"))
TOLERANCE = 1e-3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
corpus = needs(DATA / "originals")


@pytest.fixture(scope="module")
def stack(server_folder: Path) -> Iterator[Launched]:
    before = dict(os.environ)
    with launched(server_folder / "e2e") as running:
        yield running
    os.environ.clear()
    os.environ.update(before)


def manifest(folder: str) -> dict[str, dict[str, str]]:
    with (DATA / folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        return {row["file"]: row for row in csv.DictReader(lines)}


def images() -> dict[str, Path]:
    chosen = [(folder, name) for folder in ("real_eval", "ai_eval") for name in sorted(manifest(folder))[:PER_FOLDER]]
    chosen += [("originals", name) for name in sorted(manifest("originals"))]
    return {f"{folder}/{name}": DATA / folder / name for folder, name in chosen}


@pytest.fixture(scope="module")
def outcomes(stack: Launched) -> dict[str, VerdictView | None]:
    """Every file announced once and one of them three times; name -> verdict."""
    deps, paths = stack.dependencies, images()
    events = {name: showcase.announce(deps, name, path.read_bytes()) for name, path in paths.items()}
    repeated = next(iter(paths))
    for _ in range(2):
        showcase.announce(deps, repeated, paths[repeated].read_bytes())
    seen: dict[str, VerdictView | None] = {}
    for seen in showcase.follow(deps, events, timeout=60 + 12 * len(events)):  # noqa: B007
        stack.require_alive()
    return seen


@corpus
def test_every_file_has_exactly_one_verdict(stack: Launched, outcomes: dict[str, VerdictView | None]):
    assert None not in outcomes.values()
    sent = {"keys": [f"{showcase.SURFACE}/{name}" for name in outcomes]}
    engine = create_engine(stack.dependencies.settings.postgres.dsn.get_secret_value())
    with engine.connect() as connection:
        uploads = connection.execute(text("SELECT id, state FROM uploads WHERE object_key = ANY(:keys)"), sent).all()
        verdicts = connection.execute(text("SELECT upload_id FROM verdicts")).scalars().all()
        dead = connection.execute(text("SELECT count(*) FROM dead_letters")).scalar_one()
    engine.dispose()
    assert set(Counter(verdicts).values()) == {1}
    assert len(uploads) == len(outcomes)
    assert {id for id, _ in uploads} <= set(verdicts)
    assert {state for _, state in uploads} == {"done"}
    assert dead == 0


@corpus
def test_make_and_model_are_the_manifests(outcomes: dict[str, VerdictView]):
    rows = {f"{folder}/{name}": row for folder in ("originals", "real_eval") for name, row in manifest(folder).items()}
    compared = [name for name in outcomes if name in rows]
    for name in compared:
        assert (outcomes[name].camera_make, outcomes[name].camera_model) == (rows[name]["Make"], rows[name]["Model"])
    assert len(compared) == 15 + PER_FOLDER


@corpus
def test_scores_are_those_without_servers(stack: Launched, outcomes: dict[str, VerdictView]):
    release = Release.open(DEFAULT_RELEASE)
    reader = ExifToolReader(timeout=10)
    examiner = Examiner(reader, LocalDetector(release.folder), stack.dependencies.settings.limits)
    scorer, paths = release.scorer(), images()
    try:
        for name, view in outcomes.items():
            content = paths[name].read_bytes()
            found = examiner.examine(StoredObject(content, "0" * 64), release.as_version(), scorer)
            assert (found.score is None) == (view.log_likelihood is None), name
            if found.score is not None:
                assert view.log_likelihood == pytest.approx(found.score.log_likelihood, abs=TOLERANCE), name
                assert view.ai_probability == pytest.approx(found.score.ai_probability, abs=TOLERANCE), name
                assert view.p_value == pytest.approx(found.score.p_value, abs=TOLERANCE), name
    finally:
        reader.close()


def test_bench(stack: Launched, monkeypatch: pytest.MonkeyPatch):
    """Its figures add up."""
    monkeypatch.setattr("workers.cli.bench.launched", lambda _: nullcontext(stack))
    done = CliRunner().invoke(app, ["bench", "--images", "3", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["images"] == 3
    assert result["patches_per_image"] == 64
    assert set(result["stage_share"]) == set(STAGES)
    assert sum(result["stage_share"].values()) == pytest.approx(1)
    expected = result["end_to_end_images_per_second"] / result["model_images_per_second"]
    assert result["end_to_end_over_model"] == pytest.approx(expected)


def test_once_ends_badly_without_a_verdict_for_every_image(
    stack: Launched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "photo.jpg").write_bytes((files("sklearn.datasets") / "images" / "china.jpg").read_bytes())
    (tmp_path / "notes.txt").write_text("no image")
    monkeypatch.setattr("workers.cli.up.launch.servers", lambda _: nullcontext((stack.stack, stack.dependencies)))
    monkeypatch.setattr("workers.cli.up.services.running", lambda _: nullcontext(stack.processes))
    handler = signal.getsignal(signal.SIGTERM)  # `up` puts its own in place, in a process of its own
    hurried = CliRunner().invoke(app, ["up", "--images", str(tmp_path), "--once", "--timeout", "0"])
    signal.signal(signal.SIGTERM, handler)
    assert hurried.exit_code == 1, hurried.output
    assert "none" in hurried.output


def test_the_shipped_release_is_published_without_being_named(stack: Launched):
    before = [version.name for version in stack.dependencies.registry.list_versions()]
    done = CliRunner().invoke(app, ["models", "publish"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{DEFAULT_RELEASE.name} ")
    assert [version.name for version in stack.dependencies.registry.list_versions()] == before
