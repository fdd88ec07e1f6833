"""`lenswatch eval`: how well a release tells photographs from AI images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline.decode import decode
from pipeline.errors import RejectedUpload
from pipeline.evaluation import CONDITIONS, as_json, degrade, fpr_at_promise, measure
from pipeline.one_class import conformal_p_value
from pipeline.patches import NotApplicable, cut
from pipeline.ports import Detector
from pipeline.records import ExifFacts
from pipeline.release import Release
from pipeline.settings import Settings

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".avif", ".tif", ".tiff"}
HEADS = ("one_class", "binary", "fused")
Figures = dict[str, dict[str, dict[str, object]]]


def evaluate(
    real: Annotated[Path, typer.Option(help="Folder of photographs.")],
    ai: Annotated[Path, typer.Option(help="Folder of AI images.")],
    degradation: Annotated[list[str] | None, typer.Option("--degrade", help="Further conditions.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    release: Annotated[Path | None, typer.Option(help="Release folder [the shipped one].")] = None,
) -> None:
    """Score two folders as found and re-encoded, and print AUROC, AP, TPR at fixed FPR, and the promised FPR."""
    unknown = set(degradation or ()) - CONDITIONS.keys()
    if unknown:
        raise typer.BadParameter(f"unknown condition {sorted(unknown)}; there are {', '.join(CONDITIONS)}")
    from pipeline.adapters.local import LocalDetector  # torch, only here

    settings = Settings()
    opened = Release.open(release or settings.detector.release)
    scoring = _Scoring(opened, LocalDetector(opened.folder), settings)
    figures: Figures = {}
    for condition in ("as_found", "reencoded", *(degradation or ())):
        figures[condition] = _figures(scoring.score(real, condition), scoring.score(ai, condition), settings)
    _print(figures)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


class _Scoring:
    def __init__(self, release: Release, detector: Detector, settings: Settings) -> None:
        self._detector, self._limits = detector, settings.limits
        self._model, self._scorer = release.as_version(), release.scorer()

    def score(self, folder: Path, condition: str) -> NDArray[np.float64]:
        """(n, 6): suspicion by each of `HEADS`, then their p-values; files that cannot be scored are left out."""
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        tracked: Iterable[Path] = track(files, f"{folder.name}, {condition}", console=Console(stderr=True))
        rows = [row for path in tracked if (row := self._row(path, condition))]
        if not rows:
            raise typer.BadParameter(f"{folder} holds no image that can be scored")
        return np.array(rows)

    def _row(self, path: Path, condition: str) -> tuple[float, ...] | None:
        try:
            image = degrade(decode(path.read_bytes(), self._limits), condition)
            patches = cut(image, self._limits.patch_budget)
        except (RejectedUpload, NotApplicable):
            return None
        output = self._detector.detect(patches, self._model)
        score = self._scorer.score(output, patches, ExifFacts({}, "exiftool"))
        calibration = self._scorer.model
        return (
            -score.log_likelihood,
            score.ai_probability,
            -score.fused,
            conformal_p_value(calibration.calibration_log_likelihood, score.log_likelihood),
            conformal_p_value(np.sort(-calibration.calibration_ai_probability), -score.ai_probability),
            score.p_value,
        )


def _figures(real: NDArray[np.float64], ai: NDArray[np.float64], settings: Settings) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {"images": {"real": len(real), "ai": len(ai)}}
    for column, head in enumerate(HEADS):
        promised = fpr_at_promise(real[:, len(HEADS) + column], settings.policy.not_camera_fpr)
        found[head] = as_json(measure(real[:, column], ai[:, column]) | {"fpr_at_promise": promised})
    return found


def _print(figures: Figures) -> None:
    table = Table("condition", "head", "AUROC", "AP", "TPR at 2 % FPR", "FPR at promised 2 %", title="95 % intervals")
    for condition, heads in figures.items():
        for head in HEADS:
            row = heads[head]
            cells = [_cell(row, name) for name in ("auroc", "ap", "tpr_at_fpr_2", "fpr_at_promise")]
            table.add_row(condition, head, *cells)
    Console().print(table)


def _cell(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.3f} [{low:.3f}, {high:.3f}]"
