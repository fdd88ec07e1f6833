"""AUROC of the binary head against patches per image, and against how they are chosen.

    python -m tests.benchmarks.patch_budget --real PHOTOS --ai AI_IMAGES --release RELEASE --cache FOLDER --plot FILE

Held-out photographs and images of held-out generators, all re-encoded; the statistics are fitted on the others. Up to
sixteen patches are of one place, a crop of 256 px; 32 are of two, looked at one by one, where an image has two. No
evaluation image is looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot
from numpy.typing import NDArray
from rich.progress import track
from scipy.special import expit

from pipeline.adapters.local import LocalDetector
from pipeline.encoder.data import TileCache
from pipeline.evaluation.conditions import degrade
from pipeline.evaluation.figures import measure
from pipeline.one_class import logit
from pipeline.patches import NotApplicable, cut
from pipeline.read_out import ReadOut
from pipeline.records import PATCH_SIZE, DecodedImage, Patches
from pipeline.release import Release
from pipeline.retrain.read_out import fit_joint, fit_read_out
from pipeline.statistics import describe
from pipeline.windows import TOGETHER
from workers.cli.read_out import CROPS_PER_PHOTOGRAPH, described_folders

Pixels = NDArray[np.uint8]

BUDGETS = (2, 4, 8, 16, 32)


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


def places(folder: Path, cache: Path) -> list[list[Pixels]]:
    """Of each held-out image one or two crops of sixteen patches, re-encoded: [(16, 64, 64, 3), ...]."""
    tiles = TileCache(folder, cache)
    images = tiles.apart(CROPS_PER_PHOTOGRAPH).values()
    held_out = [numbers for numbers in images if tiles.tiles[numbers[0]].held_out]
    found = [[_patches(tiles.tile(number)) for number in numbers] for numbers in track(held_out, folder.name)]
    return [crops for crops in ([c for c in crops if len(c) == TOGETHER] for crops in found) if crops]


def _patches(pixels: Pixels) -> Pixels:
    try:
        return cut(degrade(DecodedImage(pixels, "JPEG"), "reencoded"), TOGETHER).pixels
    except NotApplicable:
        return np.zeros((0, PATCH_SIZE, PATCH_SIZE, 3), np.uint8)


def suspicions(detector: LocalDetector, read_out: ReadOut, crops: list[Pixels]) -> list[list[float]]:
    """By choice and budget: part of the first crop, or all of both, each by itself."""

    def suspicion(parts: list[Pixels]) -> float:
        nowhere = [Patches(part, np.zeros((len(part), 2), np.int32)) for part in parts]
        log_odds = np.mean([logit(np.array(detector.detect(part, model).ai_probability)) for part in nowhere])
        statistics = np.mean([describe(part) for part in parts], axis=0)
        return float(read_out.probability(np.asarray(expit(log_odds)), statistics))

    model, first = Release.unversioned("any"), crops[0]
    all_of_both = suspicion(crops)  # whatever the choice
    return [
        [suspicion([first[np.sort(order(first)[:budget])]]) for budget in BUDGETS if budget <= TOGETHER] + [all_of_both]
        for order in CHOICES.values()
    ]


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
        np.array([suspicions(detector, read_out, crops) for crops in track(places(folder, options.cache), "scoring")])
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
