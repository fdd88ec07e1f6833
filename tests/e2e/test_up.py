"""`lenswatch up` as a user runs it: real servers, real processes, from an empty folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(server_folder: Path) -> Path:
    return server_folder / "up"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def up(folder: Path, images: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "workers", "up", "--folder", str(folder), "--images", str(images)]
    return [*command, *options]


@pytest.mark.timeout(600)
def test_kill_9_takes_every_process_with_it_and_the_next_run_recovers(folder: Path, images: Path):
    folder.mkdir()
    log_file = folder / "up.log"
    with log_file.open("w") as log, subprocess.Popen(up(folder, images), cwd=ROOT, stdout=log, stderr=log) as running:
        deadline = time.monotonic() + 200
        while "Everything is up" not in log_file.read_text():
            assert running.poll() is None, log_file.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        family = psutil.Process(running.pid).children(recursive=True)
        assert {"postgres", "redis-server", "rclone", "tritonserver"} <= {child.name() for child in family}
        os.kill(running.pid, signal.SIGKILL)
    assert psutil.wait_procs(family, timeout=60)[1] == []

    # One verdict is there from before; the other needs everything to work again.
    (images / "photo.jpg").write_bytes((files("sklearn.datasets") / "images" / "china.jpg").read_bytes())
    once = subprocess.run(up(folder, images, "--once"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert once.returncode == 0, once.stdout + once.stderr
    assert all(server in once.stdout for server in ("postgres 18.", "redis 6.2.", "s3 rclone", "triton 2.51.0"))
    rows = {cells[0]: cells[1:] for line in once.stdout.splitlines() if (cells := line.strip("│ ").split("│"))}
    shown = {name.strip(): [cell.strip() for cell in cells] for name, cells in rows.items()}
    assert shown["notes.txt"][0] == "rejected: unsupported_format"
    assert shown["photo.jpg"][0] in {"camera", "unsure", "not_camera"}
    float(shown["photo.jpg"][1])  # the log-likelihood
