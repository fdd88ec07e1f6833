"""`python -m workers` and the command `lenswatch`."""

from __future__ import annotations

import sys

import typer

from pipeline.errors import PipelineError
from workers.cli import app


def main() -> None:
    """Run the command line; an error that we foresaw is one line, not a traceback."""
    try:
        app()
    except PipelineError as error:
        typer.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
