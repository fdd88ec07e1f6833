"""`lenswatch eval`: how well a release tells photographs from AI images (docs/evaluate.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.evaluation import HEADS, STANDING
from pipeline.evaluation.flips import CHANGES
from pipeline.evaluation.labels import LABELS
from pipeline.release import Release
from pipeline.settings import Settings
from workers.evaluate import Figures, command_line, conditions_of, evaluate_folders, write_figures

COLUMNS = {
    "AUROC": "auroc",
    "AP": "ap",
    "TPR at 2 % FPR": "tpr_at_fpr_2",
    "TPR at 6.5 % FPR": "tpr_at_fpr_6.5",
    "FPR at promise": "fpr_at_promise",
    "TPR at promise": "tpr_at_promise",
}


def evaluate(
    real: Annotated[Path, typer.Option(help="Folder of photographs.", exists=True, file_okay=False)],
    ai: Annotated[Path, typer.Option(help="Folder of AI images.", exists=True, file_okay=False)],
    degrade: Annotated[list[str] | None, typer.Option(help="Further conditions, by name, or `all`.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Draw the figures into this folder.")] = None,
    release: Annotated[Path | None, typer.Option(help="Release folder [the shipped one].")] = None,
) -> None:
    """Measure a release on two labelled folders, as found and re-encoded: AUROC, AP, TPR at fixed FPR, promised FPR.

    With --degrade also under degradations, and how many verdicts those flip.
    """
    conditions = conditions_of(degrade or ())
    settings = Settings()
    opened = Release.open(release or settings.detector.release, card=False)
    figures = evaluate_folders(opened, {"real": real, "ai": ai}, conditions, settings)
    figures["command"] = command_line(
        "lenswatch eval",
        {
            "real": real,
            "ai": ai,
            "degrade": ",".join(degrade or ()),
            "json": json_file,
            "plots": plots,
            "release": release,
        },
    )
    if json_file:
        write_figures(figures, json_file)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no edge to keep to
    for table in (_overall(figures), _groups(figures, "by_generator"), _groups(figures, "by_make"), _flips(figures)):
        console.print(table)
    if plots:
        from workers.plots import draw  # matplotlib, only here

        draw(figures, plots)


def _overall(figures: Figures) -> Table:
    table = Table("condition", "head", *COLUMNS, title="95 % intervals")
    for condition in conditions_in(figures):
        for head in HEADS:
            row = figures[condition].get(head, {})
            table.add_row(condition, head, *(cell(row, name) for name in COLUMNS.values()))
    return table


def _groups(figures: Figures, by: str) -> Table:
    at_promise = "tpr_at_promise" if by == "by_generator" else "fpr_at_promise"
    called = f"{at_promise[:3].upper()} at promise, fused"
    table = Table(by.removeprefix("by_"), "images", *(f"AUROC {head}" for head in HEADS), called, title="re-encoded")
    for group, row in figures["reencoded"][by].items():
        areas = [cell(row.get(head, {}), "auroc") for head in HEADS]
        # Text: a name out of somebody's manifest is no markup
        table.add_row(Text(group), str(row["images"]), *areas, cell(row.get("fused", {}), at_promise))
    return table


def _flips(figures: Figures) -> Table:
    table = Table("against re-encoded", "images", *CHANGES, "flipped share", title="What became of verdicts")
    for condition, labels in figures["flips"].items():
        for label in LABELS:
            row = labels[label]
            counts = [str(row[name]) for name in ("images", *CHANGES)]
            table.add_row(f"{condition}, {label}", *counts, cell(row, "flipped_share"))
    return table


def conditions_in(figures: Figures) -> list[str]:
    """The conditions that `figures` holds, the standing ones first."""
    return [*STANDING, *(name for name in figures["flips"] if name not in STANDING)]


def cell(row: Mapping[str, Any], name: str) -> str:
    """`0.912 [0.890, 0.931]`, or a dash."""
    if name not in row:
        return "-"
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.3f} [{low:.3f}, {high:.3f}]"
