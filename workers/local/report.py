"""What `lenswatch up` shows: a table of verdicts, and where to go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.table import Table
from rich.text import Text

from pipeline.store import VerdictView

STYLES = {"camera": "green", "unsure": "yellow", "not_camera": "red", "not_applicable": "blue", "rejected": "magenta"}
NOTHING = "-"


def verdict_table(outcomes: Mapping[str, VerdictView | None]) -> Table:
    """One row per image (name -> its verdict, None where there is none), one column per stage."""
    found = [view for view in outcomes.values() if view]
    stages = list(dict.fromkeys(stage for view in found for stage in view.timings_ms))
    table = Table(title="Verdicts, as Postgres holds them. A signal, never proof.", header_style="bold")
    table.add_column("image", overflow="fold")
    table.add_column("verdict")
    for heading in ("log-likelihood", "percentile"):
        table.add_column(heading, justify="right")
    table.add_column("claimed camera", overflow="fold")
    for stage in stages:
        table.add_column(f"{stage} ms", justify="right")
    for name, view in outcomes.items():
        table.add_row(name, *(_cells(view, stages) if view else [Text("none", "bold red")]))
    return table


def next_steps(web_url: str, environment_file: Path, logs: Path) -> str:
    """Printed when everything is up."""
    return f"""
[bold]Everything is up[/] until Ctrl-C; the data stays.

  review queue   {web_url}
  HTTP API       {web_url}/docs
  logs           {logs}

In another terminal, first [bold]set -a; . {environment_file}; . .venv/bin/activate[/], then for example

  lenswatch submit photo.jpg       announce an upload of your own
  lenswatch review list            what the model was unsure about
  lenswatch models list            published versions
  lenswatch dead list              uploads that were given up on
  lenswatch bench --images 200     images per second

Your own folder, from the start: [bold]make demo IMAGES=folder[/]
"""


def _cells(view: VerdictView, stages: list[str]) -> list[Text | str]:
    camera = " ".join(filter(None, (view.camera_make, view.camera_model)))
    return [
        Text(f"{view.verdict} ({view.reason})", STYLES.get(view.verdict, "")),
        _number(view.log_likelihood),
        _number(view.percentile),
        camera or NOTHING,
        *(_number(view.timings_ms.get(stage)) for stage in stages),
    ]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"
