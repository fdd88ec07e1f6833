"""Photographs and AI images through the whole real stack: one verdict each, and the same score as without servers.

`LENSWATCH_E2E_FILES` says how many files of each evaluation folder go through (default 3; the release check takes 50).
"""

import csv
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from pipeline.adapters.exiftool import ExifToolReader
from pipeline.adapters.local import LocalDetector
from pipeline.examine import Examiner
from pipeline.records import StoredObject
from pipeline.release import Release
from pipeline.settings import DEFAULT_RELEASE
from tests.paths import SHARED, needs
from workers.local import showcase
from workers.local.launch import launched

DATA = SHARED / "data"
PER_FOLDER = int(os.environ.get("LENSWATCH_E2E_FILES", "3"))
TOLERANCE = 1e-3

pytestmark = [needs(DATA / "originals"), pytest.mark.slow, pytest.mark.timeout(1800)]


def manifest(folder: str) -> dict[str, dict[str, str]]:
    with (DATA / folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        return {row["file"]: row for row in csv.DictReader(lines)}


def files() -> dict[str, Path]:
    chosen = [(folder, name) for folder in ("real_eval", "ai_eval") for name in sorted(manifest(folder))[:PER_FOLDER]]
    chosen += [("originals", name) for name in sorted(manifest("originals"))]
    return {f"{folder}/{name}": DATA / folder / name for folder, name in chosen}


@pytest.fixture(scope="module")
def run():
    """Every file announced once and one of them three times; (dependencies, name -> verdict)."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="lenswatch-e2e-") as folder, launched(Path(folder)) as running:
        deps, images = running.dependencies, files()
        events = {name: showcase.announce(deps, name, path.read_bytes()) for name, path in images.items()}
        repeated = next(iter(images))
        for _ in range(2):
            showcase.announce(deps, repeated, images[repeated].read_bytes())
        outcomes = {}
        for outcomes in showcase.follow(deps, events, timeout=60 + 12 * len(events)):  # noqa: B007
            running.require_alive()
        yield deps, outcomes
    os.environ.clear()
    os.environ.update(before)


def test_every_file_has_exactly_one_verdict(run):
    deps, outcomes = run
    assert None not in outcomes.values()
    engine = create_engine(deps.settings.postgres.dsn.get_secret_value())
    with engine.connect() as connection:
        verdicts = connection.execute(text("SELECT upload_id FROM verdicts")).scalars().all()
        uploads = connection.execute(text("SELECT id, state FROM uploads")).all()
        dead = connection.execute(text("SELECT count(*) FROM dead_letters")).scalar_one()
    engine.dispose()
    assert set(Counter(verdicts).values()) == {1}
    assert len(verdicts) == len(uploads) == len(outcomes)
    assert {state for _, state in uploads} == {"done"}
    assert dead == 0


def test_make_and_model_are_the_manifests(run):
    _, outcomes = run
    rows = {f"{folder}/{name}": row for folder in ("originals", "real_eval") for name, row in manifest(folder).items()}
    compared = [name for name in outcomes if name in rows]
    for name in compared:
        assert (outcomes[name].camera_make, outcomes[name].camera_model) == (rows[name]["Make"], rows[name]["Model"])
    assert len(compared) == 15 + PER_FOLDER


def test_scores_are_those_without_servers(run):
    deps, outcomes = run
    release = Release.open(DEFAULT_RELEASE)
    reader = ExifToolReader(timeout=10)
    examiner = Examiner(reader, LocalDetector(release.folder), deps.settings.limits)
    scorer, images = release.scorer(), files()
    try:
        for name, view in outcomes.items():
            content = images[name].read_bytes()
            found = examiner.examine(StoredObject(content, "0" * 64), release.as_version(), scorer)
            assert (found.score is None) == (view.log_likelihood is None), name
            if found.score is not None:
                assert view.log_likelihood == pytest.approx(found.score.log_likelihood, abs=TOLERANCE), name
                assert view.ai_probability == pytest.approx(found.score.ai_probability, abs=TOLERANCE), name
                assert view.p_value == pytest.approx(found.score.p_value, abs=TOLERANCE), name
    finally:
        reader.close()
