"""The command line's root: lazy, and with the same names as its documentation."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from workers.cli import app
from workers.cli.submit import derived_id, parse_address


def test_help_imports_neither_torch_nor_servers():
    code = (
        "import sys; sys.argv = ['lenswatch', '--help']\n"
        "from workers.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'celery', 'fastapi', 'sqlalchemy', 'boto3', 'tritonclient', 'sklearn', 'numpy'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "submit" in done.stdout
    assert done.stdout.strip().endswith("loaded: []")


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("s3://uploads", ("uploads", "")),
        ("s3://uploads/2026/", ("uploads", "2026/")),
        ("s3://uploads/odd?#key", ("uploads", "odd?#key")),  # legal in a key; a URL parser would cut here
    ],
)
def test_addresses(address, parsed):
    assert parse_address(address) == parsed


@pytest.mark.parametrize("address", ["uploads/x", "s3://", "https://uploads/x"])
def test_what_is_no_address(address):
    with pytest.raises(typer.BadParameter):
        parse_address(address)


def test_derived_ids_do_not_run_into_one_another():
    assert derived_id("submit", "a", "bc", "d") != derived_id("submit", "ab", "c", "d")
    assert derived_id("submit", "a") == derived_id("submit", "a")


def test_a_decision_needs_a_reviewer():
    done = CliRunner().invoke(app, ["review", "decide", "1", "camera", "--reviewer", " "])
    assert done.exit_code == 2
    assert "needs a reviewer" in done.output
