"""The encoder's training command under torchrun: two CPU processes, one run."""

import json
import os
import subprocess
import sys

import pytest

from tests.images import camera_jpeg


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path):
    for n in range(8):
        source = tmp_path / "data" / f"trip {n}"
        source.mkdir(parents=True)
        (source / f"{n}.jpg").write_bytes(camera_jpeg(seed=n, model=f"Cam {n % 2}", FNumber=2.0 + n))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "pipeline.encoder.train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    command += ["--steps", "3", "--images", "3", "--patches", "2"]
    subprocess.run(command, check=True, timeout=200, env={**os.environ, "OMP_NUM_THREADS": "1"})
    training = json.loads((tmp_path / "out" / "encoder.json").read_text())["training"]
    assert training["device"].startswith("2 x ")
    assert training["patch_passes"] == 3 * 3 * 2 * 2
