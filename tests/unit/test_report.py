"""The table that `lenswatch up` ends with."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.store import VerdictView
from workers.local.report import next_steps, save_picture, verdict_table
from workers.local.showcase import find_images

VIEW = VerdictView(
    verdict_id=1,
    upload_id=1,
    event_id="e",
    bucket="uploads",
    key="samples/a.jpg",
    version_id=None,
    surface="samples",
    uploader_id=None,
    verdict="camera",
    reason="above_thresholds",
    policy={},
    model_version="m",
    log_likelihood=-1234.56,
    percentile=48.21,
    percentile_interval=(45.0, 51.0),
    p_value=0.5,
    full_size_p_value=0.5,
    half_size_p_value=0.4,
    ai_probability=0.1,
    camera_make="Canon",
    camera_model="EOS R6",
    provenance=[],
    exif_predictions=[],
    timings_ms={"detect": 250.0, "fetch": 3.04},  # as JSONB returns them, in no order of ours
    decided_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def shown(renderable: object) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def row(text: str, name: str) -> list[str]:
    [line] = [line for line in text.splitlines() if f" {name} " in line]
    return [cell.strip() for cell in line.strip("│┃ ").split("│")]


def test_a_row_shows_what_postgres_holds():
    cells = row(shown(verdict_table({"a.jpg": VIEW})), "a.jpg")
    assert cells == ["a.jpg", "camera", "-1234.6", "48.2", "Canon EOS R6", "3", "-", "-", "-", "-", "250", "-", "-"]


def test_an_image_without_a_verdict_says_so():
    assert row(shown(verdict_table({"a.jpg": VIEW, "b.jpg": None})), "b.jpg")[1] == "none"


def test_a_verdict_without_a_score_or_a_camera_leaves_gaps():
    bare = replace(
        VIEW, verdict="rejected", reason="corrupt", log_likelihood=None, percentile=None, camera_make=None,
        camera_model=None, timings_ms={"fetch": 1.0},
    )  # fmt: skip
    cells = row(shown(verdict_table({"a.jpg": VIEW, "b.txt": bare})), "b.txt")
    assert cells == ["b.txt", "rejected: corrupt", "-", "-", "-", "1", "-", "-", "-", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    ("make", "model", "shown_as"),
    [("Canon", "Canon EOS 5D", "Canon EOS 5D"), ("Apple", None, "Apple"), (None, "X100", "X100"), (None, None, "-")],
)
def test_the_make_is_named_once(make, model, shown_as):
    view = replace(VIEW, camera_make=make, camera_model=model)
    assert row(shown(verdict_table({"a.jpg": view})), "a.jpg")[4] == shown_as


def test_next_steps_name_the_addresses():
    text = next_steps("http://127.0.0.1:1234", Path("/data/environment"), Path("/data/logs"))
    assert "http://127.0.0.1:1234/openapi.json" in text
    assert ". /data/environment" in text
    assert "$ADMIN_PASSWORD" in text  # how to see it, not what it is


def test_images_are_all_files_but_hidden_ones(tmp_path: Path):
    for name in ("b.jpg", "a/c.png", "notes.txt", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)] == ["a/c.png", "b.jpg", "notes.txt"]


@pytest.mark.parametrize("outcomes", [{}, {"a.jpg": None}])
def test_a_table_without_any_verdict_renders(outcomes):
    assert "claimed" in shown(verdict_table(outcomes))


def test_picture_shows_the_table(tmp_path):
    save_picture(verdict_table({"a.jpg": VIEW}), tmp_path / "up.svg")
    picture = (tmp_path / "up.svg").read_text()
    assert picture.startswith("<svg")
    assert "Canon" in picture
