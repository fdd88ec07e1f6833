"""Where data that is not part of the repository lies."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("LENSWATCH_SHARED", Path(__file__).parents[2] / "shared"))
"""Optional folder with test photographs; tests of it skip where it is absent."""


def needs(path: Path) -> pytest.MarkDecorator:
    """Skip the test, saying why, where `path` does not exist."""
    return pytest.mark.skipif(not path.exists(), reason=f"needs {path} (set LENSWATCH_SHARED)")
