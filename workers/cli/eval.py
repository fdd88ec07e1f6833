"""`lenswatch eval`: how well a release tells photographs from AI images (docs/evaluate.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.evaluation import HEADS
from pipeline.evaluation.flips import CHANGES
from pipeline.evaluation.labels import LABELS
from pipeline.release import Release
from pipeline.settings import Settings
from workers.evaluate import (
    MEASURES,
    Figures,
    cell,
    command_line,
    conditions_in,
    conditions_of,
    evaluate_folders,
    need_matplotlib,
    write_figures,
)
from workers.unseen import evaluate_unseen_folders


def evaluate(
    real: Annotated[Path, typer.Option(help="Folder of photographs.", exists=True, file_okay=False)],
    ai: Annotated[Path, typer.Option(help="Folder of AI images.", exists=True, file_okay=False)],
    degrade: Annotated[list[str] | None, typer.Option(help="Further conditions, by name, or `all`.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Draw the figures into this folder.")] = None,
    release: Annotated[Path | None, typer.Option(help="Release folder [the shipped one].")] = None,
    unseen: Annotated[bool, typer.Option("--unseen", help="Leave out generators and phones.")] = False,
    cache: Annotated[Path | None, typer.Option(help="For --unseen: decoded crops [RELEASE/../cache].")] = None,
) -> None:
    """Measure a release on two labelled folders, as found and re-encoded: AUROC, AP, TPR at fixed FPR, promised FPR.

    With --degrade also under degradations, and how many verdicts those flip.

    With --unseen, on *training* folders: every generator family and group of phone makes in turn is left out of all
    fitting, and asked about. The release gives the networks alone.
    """
    if unseen:
        evaluate_unseen_folders(real, ai, release or Settings().detector.release, cache=cache, json_file=json_file)
        return
    conditions = conditions_of(degrade or ())
    if plots:
        need_matplotlib()
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
    table = Table("condition", "head", *MEASURES, title="95 % intervals")
    for condition in conditions_in(figures):
        for head in HEADS:
            row = figures[condition].get(head, {})
            table.add_row(condition, head, *(cell(row, name) for name in MEASURES.values()))
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
