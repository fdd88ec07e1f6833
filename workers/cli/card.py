"""`lenswatch models card FOLDER`: the model card of a release folder (docs/evaluate.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from pipeline.evaluation import CONDITIONS
from pipeline.evaluation.labels import Label
from pipeline.release import Release
from pipeline.settings import Settings
from workers.evaluate import Figures, command_line, evaluate_folders, need_matplotlib

PLOTS = "plots"
"""Folder beside the card."""


@dataclass(frozen=True, slots=True)
class CardOptions:
    real: Path | None = None
    ai: Path | None = None
    figures: Path | None = None
    unseen: Path | None = None
    out: Path | None = None
    pictures: Path | None = None


def write_card(folder: Path, options: CardOptions) -> None:
    """Print the card, or write it to `options.out` with its plots beside it."""
    if options.out:
        need_matplotlib()
    from workers.model_card import render

    settings, release = Settings(), Release.open(folder, card=False)
    figures = _read_figures(options.figures, release) if options.figures else _measure(release, options, settings)
    unseen = json.loads(options.unseen.read_text()) if options.unseen else None
    card = render(release, figures, unseen=unseen, plots=PLOTS if options.out else None)
    if options.pictures:
        from workers.model_card.pictures import draw_pictures

        drawn = draw_pictures(figures, _folders(options, "--pictures"), options.pictures, settings.limits)
        typer.echo(f"{drawn} pictures in {options.pictures}: other people's images, never commit them", err=True)
    if options.out:
        from workers.plots import draw

        draw(figures, options.out.parent / PLOTS)
        options.out.write_text(card)
    else:
        typer.echo(card, nl=False)


def _read_figures(file: Path, release: Release) -> Figures:
    """Figures of this very release: those of other weights, or by another name, would be a false card."""
    figures: Figures = json.loads(file.read_text())
    if figures.get("weights_sha256") != release.digest():
        raise typer.BadParameter(
            f"{file} was measured on other weights than those of {release.name}: run lenswatch eval"
        )
    if figures.get("model") != release.name:
        raise typer.BadParameter(
            f"{file} was measured on {figures.get('model')}, not {release.name}: run lenswatch eval"
        )
    return figures


def _measure(release: Release, options: CardOptions, settings: Settings) -> Figures:
    folders = _folders(options, "a card without --eval")
    figures = evaluate_folders(release, folders, CONDITIONS, settings)
    command = command_line(
        "lenswatch eval", {"real": folders["real"], "ai": folders["ai"], "degrade": "all", "release": release.folder}
    )
    return figures | {"command": command}


def _folders(options: CardOptions, what: str) -> Mapping[Label, Path]:
    if not (options.real and options.ai):
        raise typer.BadParameter(f"{what} needs --real and --ai")
    return {"real": options.real, "ai": options.ai}
