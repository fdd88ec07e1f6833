"""The house's sizes: no module over 400 lines, no function over 60, half the modules at most 120."""

import ast
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    path for folder in ("pipeline", "workers", "migrations", "triton_models") for path in (ROOT / folder).rglob("*.py")
)


def functions(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path):
    assert len(path.read_text().splitlines()) <= 400
    long = [node.name for node in functions(path) if (node.end_lineno or 0) - node.lineno + 1 > 60]
    assert not long


def test_modules_are_small():
    assert median(len(path.read_text().splitlines()) for path in MODULES) <= 120


def test_no_pickle():
    offenders = [
        path for path in MODULES if "import pickle" in path.read_text() or "allow_pickle=True" in path.read_text()
    ]
    assert not offenders
