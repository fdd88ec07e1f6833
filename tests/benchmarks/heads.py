"""What each part of the heads is worth: one-class models against descriptors that learn nothing, and the read-out with
one thing changed, on generator families and phones left out. Writes Markdown tables (they stand in docs/train.md).

    python -m tests.benchmarks.heads --real PHOTOS --ai AI_IMAGES --release RELEASE --cache FOLDER

Everything is of the training folders; no evaluation image is looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from pipeline.cooccurrence import DIMENSIONS, GROUPS
from pipeline.evaluation.conditions import STANDING
from pipeline.evaluation.figures import measure
from pipeline.retrain.described import Described
from pipeline.retrain.fit import fit_mixture
from pipeline.retrain.unseen import FAMILIES, evaluate_unseen
from workers.cli.read_out import described_folders

Floats = NDArray[np.float64]
PHONES = ("samsung+google", "huawei+xiaomi+oneplus")
NEIGHBOURS = 5
SEEDS = (0, 1)
KEPT = 0.8
"""Share of the images that each seed draws: the spread between seeds is that of the data."""


# ---- one-class models: fitted on photographs, asked about held-out photographs and AI images -------------


def nearest(fit: Floats, asked: Floats, axes: int = 64) -> Floats:
    """Mean squared distance to the nearest five, on whitened principal axes."""
    mean = fit.mean(0)
    _, singular, directions = np.linalg.svd(fit - mean, full_matrices=False)
    whiten = directions[:axes].T / singular[:axes]
    a, b = (asked - mean) @ whiten, (fit - mean) @ whiten
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(np.partition(squared, NEIGHBOURS, axis=1)[:, :NEIGHBOURS].mean(1))


def mixture(axes: int, components: int) -> Callable[[Floats, Floats], Floats]:
    def suspicion(fit: Floats, asked: Floats) -> Floats:
        scale = fit.std(0) + 1e-8
        fitted = fit_mixture(fit / scale, axes=axes, components=components, seed=0)
        return -fitted.log_likelihood(asked / scale)

    return suspicion


ONE_CLASS: dict[str, tuple[str, Callable[[Floats, Floats], Floats]]] = {
    "SDAIE read-out, mixture of 2": ("embeddings", mixture(64, 2)),
    "SDAIE read-out, one Gaussian (Mahalanobis)": ("embeddings", mixture(64, 1)),
    "SDAIE read-out, k-NN": ("embeddings", nearest),
    "residual statistics (nothing learned), mixture of 2": ("statistics", mixture(64, 2)),
    "residual statistics (nothing learned), one Gaussian": ("statistics", mixture(64, 1)),
    "residual statistics (nothing learned), k-NN": ("statistics", nearest),
}


def one_class_rows(data: Described) -> Iterator[tuple[str, list[str]]]:
    fit, real = ~data.held_out & ~data.is_ai, data.held_out & ~data.is_ai
    for name, (features, suspicion) in ONE_CLASS.items():
        values = np.asarray(getattr(data, features), dtype=np.float64)
        cells = []
        for version in (0, 1):
            scores = suspicion(values[fit, 0], values[:, version])
            figure = measure(scores[real], scores[data.is_ai], resamples=500)["auroc"]
            cells.append(f"{figure.value:.3f} [{figure.interval.low:.3f}, {figure.interval.high:.3f}]")
        yield name, cells


# ---- the read-out, one thing changed ----------------------------------------------------------------------


def only(columns: NDArray[np.bool_]) -> Callable[[Described], Described]:
    return lambda data: replace(data, statistics=data.statistics * columns)


def group_columns(groups: set[int], parts: set[str]) -> NDArray[np.bool_]:
    """Columns of these residual groups and of these histograms: `along`, `across`, `colours`."""
    size = DIMENSIONS // GROUPS
    neighbours = (size - 63) // 2
    kinds = np.repeat(["along", "across", "colours"], [neighbours, neighbours, 63])
    return np.concatenate([np.isin(kinds, list(parts)) & (group in groups) for group in range(GROUPS)])


EVERY, ALL = set(range(GROUPS)), {"along", "across", "colours"}
READ_OUT: dict[str, Callable[[Described], Described]] = {
    "as shipped": lambda data: data,
    "without histograms of the three colours": only(group_columns(EVERY, ALL - {"colours"})),
    "colours alone": only(group_columns(EVERY, {"colours"})),
    "without third-order residuals": only(group_columns(EVERY - {2}, ALL)),
    "without the square 3x3 residual": only(group_columns(EVERY - {3}, ALL)),
    "without residuals of colour differences": only(group_columns(EVERY - {4}, ALL)),
    "without random histories in training": lambda data: replace(data, statistics=data.statistics[:, :2]),
    "the SDAIE read-out instead of statistics": lambda data: replace(
        data, statistics=data.embeddings[:, : len(STANDING)]
    ),
}


def drawn(data: Described, seed: int) -> Described:
    taken = np.random.default_rng(seed).random(len(data.crops)) < KEPT
    return Described(
        tuple(crop for crop, keep in zip(data.crops, taken, strict=True) if keep),
        *(getattr(data, name)[taken] for name in ("kept", "statistics", "embeddings", "network", "handling")),
    )


def read_out_rows(data: Described) -> Iterator[tuple[str, list[str]]]:
    for name, change in track(READ_OUT.items(), "rows"):
        found = [evaluate_unseen(change(drawn(data, seed)), tuple(FAMILIES), PHONES) for seed in SEEDS]
        cells = []
        for condition in ("as_found", "reencoded"):
            for summary in ("mean", "worst"):
                values = [figures[summary][condition]["fused"]["auroc"] for figures in found]
                cells.append(" / ".join(f"{value:.3f}" for value in values))
        yield name, cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("real", "ai", "release", "cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    data = described_folders(options.real, options.ai, options.release, options.cache, seed=0)
    print("| one-class model | AUROC as found | AUROC re-encoded |\n|---|---|---|")  # noqa: T201
    for name, cells in one_class_rows(data):
        print(f"| {name} | {' | '.join(cells)} |", flush=True)  # noqa: T201
    print("\n| read-out | mean, as found | worst | mean, re-encoded | worst |\n|---|---|---|---|---|")  # noqa: T201
    for name, cells in read_out_rows(data):
        print(f"| {name} | {' | '.join(cells)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
