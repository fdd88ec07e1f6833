"""What holds for every process of Lenswatch."""

import os
import subprocess
import sys

COUNT = """
import workers, numpy, threadpoolctl
print(*(pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["internal_api"] == "openblas"))
"""


def test_small_matrices_are_multiplied_by_one_thread():
    """Beside other busy processes, threads that waited for each other's cores took 40 times as long for an image."""
    rest = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    found = subprocess.run(
        [sys.executable, "-c", COUNT], env=rest, capture_output=True, text=True, check=True, timeout=60
    )
    assert set(found.stdout.split()) == {"1"}
