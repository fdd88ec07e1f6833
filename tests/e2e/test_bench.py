"""`lenswatch bench`: a stack of its own, and figures that add up."""

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_bench():
    done = subprocess.run(
        [sys.executable, "-m", "workers", "bench", "--images", "3", "--json"],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["images"] == 3
    assert result["patches_per_image"] == 64
    assert result["stage_share"]["detect"] == max(result["stage_share"].values())
    assert sum(result["stage_share"].values()) == pytest.approx(1)
    expected = result["end_to_end_images_per_second"] / result["model_images_per_second"]
    assert result["end_to_end_over_model"] == pytest.approx(expected)
