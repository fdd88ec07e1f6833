"""AUROC of the binary head against patches per image, and against how they are chosen.

    python -m tests.benchmarks.patch_budget --real PHOTOS --ai AI_IMAGES --release RELEASE --cache FOLDER --plot FILE

Held-out photographs with at least two crops (their patches together) and held-out generators, all re-encoded; the
statistics are fitted on the others. No evaluation image is looked at.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from pipeline.adapters.local import LocalDetector
from pipeline.encoder.data import Tile, read_folder
from pipeline.evaluation.conditions import degrade
from pipeline.evaluation.figures import measure
from pipeline.patches import NotApplicable, cut
from pipeline.read_out import ReadOut
from pipeline.records import DecodedImage, Patches
from pipeline.release import Release
from pipeline.retrain.read_out import fit_joint, fit_read_out
from pipeline.statistics import describe
from workers.cli.read_out import described_folders

Pixels = NDArray[np.uint8]

BUDGETS = (2, 4, 8, 16, 32)
LARGEST = max(BUDGETS)


def _energy(patches: Pixels) -> NDArray[np.float64]:
    green = patches[..., 1].astype(np.float32)
    return np.asarray(np.diff(green, 2, axis=2).var(axis=(1, 2)) + np.diff(green, 2, axis=1).var(axis=(1, 2)))


CHOICES: Mapping[str, Callable[[Pixels], NDArray[np.intp]]] = {
    "spread evenly": lambda patches: np.argsort((np.arange(len(patches)) * 0.618034) % 1),
    "most residual energy": lambda patches: np.argsort(-_energy(patches)),
    "least residual energy": lambda patches: np.argsort(_energy(patches)),
    "middling residual energy": lambda patches: np.argsort(np.abs(_energy(patches) - np.median(_energy(patches)))),
}
"""How -> an order of an image's patches; the budget takes the first ones."""


def patches_of(folder: Path, tiles: list[Tile]) -> Pixels:
    """Up to `LARGEST` patches of an image's crops, re-encoded: drawn at random, in reading order; (n, 64, 64, 3)."""
    parts = []
    for tile in tiles:
        with Image.open(folder / tile.file) as opened:
            image = degrade(DecodedImage(np.asarray(opened.convert("RGB")), "JPEG"), "reencoded")
        try:
            parts.append(cut(image, LARGEST).pixels)
        except NotApplicable:
            continue
    if not parts:
        return np.zeros((0, 64, 64, 3), np.uint8)
    together = np.concatenate(parts)
    return together[np.sort(np.random.default_rng(0).permutation(len(together))[:LARGEST])]


def images(folder: Path) -> list[Pixels]:
    """Of held-out images that have enough patches for the largest budget."""
    by_image = defaultdict(list)
    for tile in read_folder(folder):
        if tile.held_out:
            by_image[tile.photograph].append(tile)
    found = [patches_of(folder, tiles[:4]) for tiles in track(list(by_image.values()), folder.name)]
    return [patches for patches in found if len(patches) == LARGEST]


def suspicions(detector: LocalDetector, read_out: ReadOut, patches: Pixels) -> list[list[float]]:
    """By choice and budget."""
    model, rows = Release.unversioned("any"), []
    for order in CHOICES.values():
        chosen = order(patches)
        row = []
        for budget in BUDGETS:
            part = patches[np.sort(chosen[:budget])]
            network = detector.detect(Patches(part, np.zeros((budget, 2), np.int32)), model).ai_probability
            row.append(float(read_out.probability(np.array(network), describe(part))))
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("real", "ai", "release", "cache", "plot"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    data = described_folders(options.real, options.ai, options.release, options.cache, seed=0)
    read_out = fit_read_out(data, ~data.held_out)
    read_out = replace(read_out, joint=fit_joint(data, data.weighs, read_out))
    detector = LocalDetector(options.release)
    real, ai = (
        np.array([suspicions(detector, read_out, patches) for patches in track(images(folder), "scoring")])
        for folder in (options.real, options.ai)
    )  # (images, choices, budgets)
    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    print(f"{len(real)} photographs, {len(ai)} AI images\n")  # noqa: T201
    print(f"| patches | {' | '.join(CHOICES)} |\n|{'---|' * (len(CHOICES) + 1)}")  # noqa: T201
    table = [
        [measure(real[:, c, b], ai[:, c, b], resamples=500)["auroc"] for c in range(len(CHOICES))]
        for b in range(len(BUDGETS))
    ]
    for budget, row in zip(BUDGETS, table, strict=True):
        cells = (f"{f.value:.3f} [{f.interval.low:.3f}, {f.interval.high:.3f}]" for f in row)
        print(f"| {budget} | {' | '.join(cells)} |")  # noqa: T201
    for number, name in enumerate(CHOICES):
        axes.plot(BUDGETS, [row[number].value for row in table], marker="o", label=name)
    axes.set(xscale="log", xlabel="patches per image", ylabel="AUROC, re-encoded, held out", xticks=BUDGETS)
    axes.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    mpl.rcParams["svg.hashsalt"] = "lenswatch"
    figure.savefig(options.plot, metadata={"Date": None})


if __name__ == "__main__":
    main()
