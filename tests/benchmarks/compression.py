"""Could a release's figures come from how files were compressed, instead of from what formed the images?

    python -m tests.benchmarks.compression --real PHOTOS --ai AI_IMAGES --figures EVAL_JSON

The AUROC of a file's mean luma quantisation step alone, and that of the fused score against the AI images whose step
lies among the photographs', is coarser, or that are no JPEG. Writes a Markdown table (it stands in docs/evaluate.md).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.evaluation.conditions import STANDING
from pipeline.evaluation.figures import auroc, measure

Floats = NDArray[np.float64]
HIGHEST = 95
"""Percentile of the photographs' steps up to which one counts as among them."""


def step(file: Path) -> float:
    """Mean of the table that luma was quantised by; NaN where there is none."""
    with Image.open(file) as image:
        tables = getattr(image, "quantization", None)
        return float(np.mean(tables[0])) if tables else np.nan


def main() -> None:
    options = _options()
    suspicions = json.loads(options.figures.read_text())["suspicions"]
    folders = {"real": options.real, "ai": options.ai}
    steps = {
        label: np.array([step(folder / name) for name in suspicions["as_found"][label]["file"]])
        for label, folder in folders.items()
    }
    known = {label: found[np.isfinite(found)] for label, found in steps.items()}
    highest = float(np.percentile(known["real"], HIGHEST))
    alone = auroc(known["real"], known["ai"])
    print(f"step alone, {len(known['real'])} photographs, {len(known['ai'])} AI images: AUROC {alone:.3f}\n")  # noqa: T201
    print("| AI images | as found | re-encoded |\n|---|---|---|")  # noqa: T201
    rows = {
        "all": np.ones(len(steps["ai"]), bool),
        f"JPEG, step of at most {highest:.1f} as {HIGHEST} % of the photographs": steps["ai"] <= highest,
        "JPEG, coarser": steps["ai"] > highest,
        "no JPEG": np.isnan(steps["ai"]),
    }
    for name, taken in rows.items():
        cells = [_fused(suspicions[condition], taken) for condition in STANDING]
        print(f"| {name} ({taken.sum()}) | {' | '.join(cells)} |")  # noqa: T201


def _fused(of: dict[str, dict[str, list[float]]], taken: NDArray[np.bool_]) -> str:
    real, ai = (np.array(of[label]["fused"]) for label in ("real", "ai"))
    if not taken.any():
        return ""
    figure = measure(real, ai[taken])["auroc"]
    return f"{figure.value:.3f} [{figure.interval.low:.3f}, {figure.interval.high:.3f}]"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("real", "ai", "figures"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
