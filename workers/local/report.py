"""What `lenswatch up` shows: a table of verdicts, and where to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

STYLES = {"camera": "green", "unsure": "yellow", "not_camera": "red", "not_applicable": "blue", "rejected": "magenta"}
NONE = "-"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What Postgres holds on one sample; `verdict` is None while, or where, there is none."""

    image: str
    verdict: str | None = None
    reason: str = ""
    log_likelihood: float | None = None
    percentile: float | None = None
    """Among the calibration photographs, 0-100."""
    camera: str = ""
    """Claimed make and model."""
    timings_ms: Mapping[str, float] = field(default_factory=dict)


def verdict_table(outcomes: Sequence[Outcome]) -> Table:
    """One row an image, one column a stage."""
    stages = list(dict.fromkeys(stage for outcome in outcomes for stage in outcome.timings_ms))
    table = Table(title="Verdicts, as Postgres holds them (stages in ms)", header_style="bold")
    table.add_column("image", overflow="fold")
    table.add_column("verdict")
    table.add_column("reason", overflow="fold")
    table.add_column("log-likelihood", justify="right")
    table.add_column("percentile", justify="right")
    table.add_column("claimed camera", overflow="fold")
    for stage in stages:
        table.add_column(stage, justify="right")
    for outcome in outcomes:
        table.add_row(
            outcome.image,
            Text(outcome.verdict or "none", STYLES.get(outcome.verdict or "", "bold red")),
            outcome.reason,
            _number(outcome.log_likelihood),
            _number(outcome.percentile),
            outcome.camera or NONE,
            *(_number(outcome.timings_ms.get(stage)) for stage in stages),
        )
    return table


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"
