"""Two training folders -> the table of `lenswatch eval --unseen`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline.evaluation import HEADS, STANDING
from pipeline.retrain.unseen import Fold, evaluate_unseen
from workers.cli.read_out import described_folders
from workers.evaluate import command_line, write_figures


def evaluate_unseen_folders(
    real: Path, ai: Path, release: Path, *, cache: Path | None, json_file: Path | None, seed: int = 0
) -> None:
    """Print the table; `json_file` gets the figures with their intervals."""
    data = described_folders(real, ai, release, cache or release.parent / "cache", seed=seed)
    options = {"real": real, "ai": ai, "release": release, "json": json_file}
    figures = evaluate_unseen(data, track=_tracked)
    figures |= {"model": release.name, "command": command_line("lenswatch eval --unseen", options)}
    if json_file:
        write_figures(figures, json_file)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(_table(figures))


def _tracked(folds: Sequence[Fold]) -> Iterable[Fold]:
    return track(folds, "folds", console=Console(stderr=True))


def _table(figures: Mapping[str, Any]) -> Table:
    columns = [(condition, head) for condition in STANDING for head in HEADS]
    headers = ("left-out family", "left-out phones", "real", "ai", *(f"{head}, {name}" for name, head in columns))
    table = Table(*headers, title="AUROC on families and phones left out")
    for fold in figures["folds"]:
        areas = [f"{fold[condition][head]['auroc']:.3f}" for condition, head in columns]
        table.add_row(fold["family"], ", ".join(fold["makes"]), str(fold["real"]), str(fold["ai"]), *areas)
    for name in ("mean", "worst"):
        table.add_row(
            name, "", "", "", *(f"{figures[name][condition][head]['auroc']:.3f}" for condition, head in columns)
        )
    return table
