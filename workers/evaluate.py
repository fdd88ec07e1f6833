"""Two labelled folders and a release -> the figures of `lenswatch eval`, and their file."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.adapters.pillow_exif import PillowExifReader
from pipeline.evaluation import CONDITIONS, STANDING, LabelledImage, Scored, Scoring, list_images, report
from pipeline.evaluation.labels import LABELS, Label
from pipeline.release import Release
from pipeline.settings import Settings
from pipeline.verdict import policy_for

Figures = dict[str, Any]

MEASURES = {
    "AUROC": "auroc",
    "AP": "ap",
    "TPR at 2 % FPR": "tpr_at_fpr_2",
    "TPR at 6.5 % FPR": "tpr_at_fpr_6.5",
    "FPR at promise": "fpr_at_promise",
    "TPR at promise": "tpr_at_promise",
}
"""A column's heading -> the figure's name in the JSON."""

_FLAT = (re.compile(r"\[\s*\n[^\[\]{}]*\]"), re.compile(r"\{\s*\n[^{}]*\}"))
"""In JSON: a list that holds no other and no object, an object that holds no other."""


def conditions_of(named: Sequence[str]) -> tuple[str, ...]:
    """The two standing conditions and those named: one a value or several with commas, or `all`."""
    names = [name for value in named for name in value.split(",") if name]
    unknown = set(names) - {*CONDITIONS, "all"}
    if unknown:
        raise typer.BadParameter(f"unknown condition {sorted(unknown)}; there are {', '.join(CONDITIONS)}, and all")
    return tuple(name for name in CONDITIONS if name in STANDING or name in names or "all" in names)


def evaluate_folders(
    release: Release, folders: Mapping[Label, Path], conditions: Sequence[str], settings: Settings
) -> Figures:
    """Score both folders under every condition. Raises BadParameter for a folder without an image to score."""
    from pipeline.adapters.local import LocalDetector  # torch, only here

    images = {label: list_images(folders[label], label) for label in LABELS}
    policy = policy_for(settings, "default")
    scoring = Scoring(
        LocalDetector(release.folder, settings.detector.trunk),
        release.as_version(),
        release.scorer(),
        exif_reader=PillowExifReader(),
        limits=settings.limits,
        policy=policy,
    )
    scored = _score(scoring, images, conditions)
    for label in LABELS:
        if not any(image.scores for image in scored["as_found"][label]):
            raise typer.BadParameter(f"{folders[label]} holds no image that can be scored")
    figures = report(scored, policy.not_camera_fpr)
    return figures | {"promise": policy.not_camera_fpr, "model": release.name, "weights_sha256": release.digest()}


def _score(
    scoring: Scoring, images: Mapping[Label, Sequence[LabelledImage]], conditions: Sequence[str]
) -> dict[str, dict[Label, list[Scored]]]:
    scored: dict[str, dict[Label, list[Scored]]] = {name: {label: [] for label in LABELS} for name in conditions}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for label in LABELS:
            steps = len(images[label]) * len(conditions)
            advance = partial(
                progress.advance, progress.add_task(f"{label}, {len(conditions)} conditions", total=steps)
            )
            for image in images[label]:
                rows = scoring.score(image, conditions, done=advance)
                for name, row in zip(conditions, rows, strict=True):
                    scored[name][label].append(row)
    return scored


def write_figures(figures: Mapping[str, Any], file: Path) -> None:
    """As JSON, each interval and each head's figures on one line."""
    text = json.dumps(figures, indent=1, allow_nan=False)
    for flat in _FLAT:
        text = flat.sub(lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text)
    file.write_text(text + "\n")


def conditions_in(figures: Mapping[str, Any]) -> list[str]:
    """The conditions that `figures` holds, the standing ones first."""
    return [*STANDING, *(name for name in figures["flips"] if name not in STANDING)]


def cell(row: Mapping[str, Any], name: str) -> str:
    """`0.912 [0.890, 0.931]`, or a dash."""
    if name not in row:
        return "-"
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.3f} [{low:.3f}, {high:.3f}]"


def need_matplotlib() -> None:
    """Said before the images are scored, not after."""
    if find_spec("matplotlib") is None:
        raise typer.BadParameter("plots need matplotlib: install lenswatch[plots]")


def command_line(name: str, options: Mapping[str, Path | str | None]) -> str:
    """The command as others may see it: a path elsewhere by its name alone, which says nothing of this machine."""
    said = [f"--{option} {shlex.quote(_shown(value))}" for option, value in options.items() if value]
    return " ".join([name, *said])


def _shown(value: Path | str) -> str:
    if isinstance(value, str):
        return value
    elsewhere = value.is_absolute() or ".." in value.parts
    return value.name if elsewhere else value.as_posix()
