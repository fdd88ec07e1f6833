"""What `lenswatch up` shows: a table of verdicts, and where to go on."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.records import STAGES
from pipeline.store import VerdictView

STYLES = {"camera": "green", "unsure": "yellow", "not_camera": "red", "not_applicable": "blue", "rejected": "magenta"}
NOTHING = "-"
PICTURE_WIDTH = 190  # characters


def verdict_table(outcomes: Mapping[str, VerdictView | None]) -> Table:
    """One row per image (name -> its verdict, None where there is none), one column per stage."""
    table = Table(title="Verdicts, as Postgres holds them. A signal, never proof.", header_style="bold")
    table.add_column("image", no_wrap=True, max_width=32)
    table.add_column("verdict", min_width=14)
    table.add_column("log-\nlikelihood", justify="right")
    table.add_column("per-\ncentile", justify="right")
    table.add_column("claimed\ncamera", max_width=28)
    for stage in STAGES:
        name = stage.replace("_", "\n")
        table.add_column(f"{name}\nms", justify="right", min_width=5)
    for name, view in outcomes.items():
        table.add_row(name, *(_cells(view) if view else [Text("none", "bold red")]))
    return table


def save_picture(table: Table, path: Path) -> None:
    """The table as an SVG, as a terminal shows it."""
    console = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO())
    console.print(table)
    console.save_svg(str(path), title="lenswatch up")


def next_steps(web_url: str, environment_file: Path, logs: Path) -> str:
    """Printed when everything is up."""
    return f"""
[bold]Everything is up[/] until Ctrl-C; the data stays.

  review desk    {web_url}, where [bold]admin[/] signs in with $ADMIN_PASSWORD of the file below
  HTTP API       {web_url}/openapi.json
  logs           {logs}

In another terminal, first [bold]set -a; . {environment_file}; . .venv/bin/activate[/], then for example

  lenswatch submit photo.jpg       announce an upload of your own
  lenswatch review list            what the model was unsure about
  lenswatch people add ann --role reviewer
  lenswatch models list            published versions
  lenswatch dead list              uploads that were given up on
  lenswatch bench --images 200     images per second
  curl -H "Authorization: Bearer $KEY" {web_url}/v1/review
  echo $ADMIN_PASSWORD             with which [bold]admin[/] signs in

Your own folder, from the start: [bold]make demo IMAGES=folder[/]
"""


def _cells(view: VerdictView) -> list[Text | str]:
    return [
        Text(_verdict(view), STYLES.get(view.verdict, "")),
        _number(view.log_likelihood),
        _number(view.percentile),
        _camera(view),
        *(_number(view.timings_ms.get(stage), decimals=0) for stage in STAGES),
    ]


def _camera(view: VerdictView) -> str:
    """Make and model; the make only once where the model repeats it (`Canon EOS 5D`)."""
    make, model = view.camera_make or "", view.camera_model or ""
    return (model if model.startswith(make) else f"{make} {model}".strip()) or NOTHING


def _verdict(view: VerdictView) -> str:
    """With its reason where no score speaks for itself: `rejected: truncated`."""
    return view.verdict if view.log_likelihood is not None else f"{view.verdict}: {view.reason}"


def _number(value: float | None, decimals: int = 1) -> str:
    return NOTHING if value is None else f"{value:.{decimals}f}"
