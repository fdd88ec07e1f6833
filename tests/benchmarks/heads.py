"""What each part of the heads is worth: one-class models against descriptors that learn nothing, how well features tell
makes apart, and the read-out with one thing changed, on generator families and phones left out. Writes Markdown tables
(they stand in docs/train.md).

    python -m tests.benchmarks.heads --real PHOTOS --ai AI_IMAGES --release RELEASE --cache FOLDER [--tables makes ...]

Everything is of the training folders; no evaluation image is looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupShuffleSplit

from pipeline import cooccurrence, periods
from pipeline.cooccurrence import GROUPS
from pipeline.evaluation.conditions import STANDING
from pipeline.evaluation.figures import Figure, auroc_difference, measure
from pipeline.one_class import LIMIT, Traces, logit
from pipeline.retrain.described import VERSIONS, Described, mean_by, one_window
from pipeline.retrain.fit import by_stability, choose_views, fit_mixture, spread
from pipeline.retrain.unseen import FAMILIES, folds, images_of, photo_features, read_out_probability
from pipeline.self_description import DIMENSIONS as ONE_SCALE
from pipeline.statistics import COOCCURRENCES, RESIDUALS, SCALES
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


def parts(data: Described) -> Traces:
    """Means and deviations of self-descriptions, as the one-class model sees them; (n x versions, 144)."""
    rows = data.self_descriptions.reshape(-1, SCALES * ONE_SCALE)
    return one_window(data.embeddings.reshape(len(rows), -1), rows)


FEATURES: dict[str, Callable[[Described], NDArray[np.float32]]] = {
    "SDAIE read-out": lambda data: data.embeddings,
    "self-description": lambda data: data.self_descriptions,
    "self-description, full size alone": lambda data: data.self_descriptions[..., :ONE_SCALE],
    "self-description, half size alone": lambda data: data.self_descriptions[..., ONE_SCALE:],
    "self-description, means alone": lambda data: parts(data).means.reshape(*data.network.shape, -1),
    "self-description, deviations alone": lambda data: parts(data).deviations.reshape(*data.network.shape, -1),
    "residual statistics": lambda data: data.statistics[..., :COOCCURRENCES],
    "periods": lambda data: data.statistics[..., COOCCURRENCES:RESIDUALS],
}
"""Only the first is learned across images."""

MODELS = {"mixture of 2": mixture(64, 2), "one Gaussian (Mahalanobis)": mixture(64, 1), "k-NN": nearest}


LESS = (("SDAIE read-out", "residual statistics"), ("SDAIE read-out", "self-description"))
"""What is learned, and what it is to be better than."""


def one_class_rows(data: Described) -> Iterator[tuple[str, list[str]]]:
    fit = ~data.held_out & ~data.is_ai
    crops = Asked(data.held_out & ~data.is_ai, data.is_ai, np.array([crop.source for crop in data.crops]))
    found: dict[tuple[str, str], list[Floats]] = {}
    for features, of in FEATURES.items():
        values = np.asarray(of(data), dtype=np.float64)
        for model, suspicion in MODELS.items():
            found[features, model] = [suspicion(values[fit, 0], values[:, version]) for version in (0, 1)]
            yield f"{features}, {model}", [crops.auroc(scores) for scores in found[features, model]]
    for one, other in LESS:
        for model in MODELS:
            pairs = zip(found[one, model], found[other, model], strict=True)
            yield f"{one} less {other}, {model}", [crops.difference(*pair) for pair in pairs]
    image = choose_views(photo_features(data, fit), seed=0).views
    image = by_stability(image, *data.histories(crops.real & data.weighs))
    every = np.ones(len(fit), dtype=bool)
    unlearned = image.weighing(image.weights | {"embedding": 0.0})
    by_crop, by_crop_unlearned = (
        [-views.log_likelihood(data.traces(every, version)) for version in (0, 1)] for views in (image, unlearned)
    )
    yield "**three views, as shipped**", [crops.auroc(scores) for scores in by_crop]
    yield "the same without the SDAIE read-out", [crops.auroc(scores) for scores in by_crop_unlearned]
    for other, scores in (
        ("the same without the SDAIE read-out", by_crop_unlearned),
        *((f"self-description, {model}", found["self-description", model]) for model in MODELS),
    ):
        yield f"three views less {other}", [crops.difference(*pair) for pair in zip(by_crop, scores, strict=True)]
    real, is_ai = (mean_by(data.images(every), rows.astype(float)) > 0 for rows in (crops.real, data.is_ai))
    images = Asked(real, is_ai, data.image_sources(every))
    by_image = [-image.log_likelihood(data.image_traces(every, version)) for version in (0, 1)]
    yield "**the same, means over an image's crops**", [images.auroc(scores) for scores in by_image]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which of what was scored is asked about, (n,) each."""

    real: NDArray[np.bool_]
    is_ai: NDArray[np.bool_]
    source: NDArray[np.str_]

    def auroc(self, suspicion: Floats) -> str:
        return _with_interval(measure(*self._sides(suspicion), resamples=500, **self._sources)["auroc"], ".3f")

    def difference(self, one: Floats, other: Floats) -> str:
        return _with_interval(auroc_difference(self._sides(one), self._sides(other), **self._sources), "+.3f")

    def _sides(self, suspicion: Floats) -> tuple[Floats, Floats]:
        return suspicion[self.real], suspicion[self.is_ai]

    @property
    def _sources(self) -> dict[str, list[str]]:
        return {"real_sources": self.source[self.real].tolist(), "ai_sources": self.source[self.is_ai].tolist()}


def _with_interval(figure: Figure, form: str) -> str:
    return f"{figure.value:{form}} [{figure.interval.low:{form}}, {figure.interval.high:{form}}]"


# ---- photographs alone: how well features tell makes apart ------------------------------------------------

LEAST_SOURCES = 4
"""Of a make, so that a split leaves out some of them and keeps others."""

SPLITS = 40


def make_rows(data: Described) -> Iterator[tuple[str, list[str]]]:
    """What features of a one-class model are chosen by, as no AI image is involved: how well a linear discriminant
    tells makes on sources that it was not fitted on (balanced accuracy); how well a mixture tells held-out photographs
    after re-encoding from the same as found (AUROC; the nearer to 0.5 the better); and the mean square by which random
    histories change a photograph's standing, which weighs means against deviations (`retrain/fit.by_stability`)."""
    makes, sources = (np.array([getattr(crop, name) for crop in data.crops]) for name in ("make", "source"))
    known = [
        make
        for make in np.unique(makes[~data.is_ai])
        if len(np.unique(sources[(makes == make) & ~data.is_ai])) >= LEAST_SOURCES
    ]
    rows = np.isin(makes, known) & ~data.is_ai
    labels, splitter = makes[rows], GroupShuffleSplit(SPLITS, test_size=0.25, random_state=0)
    splits = list(splitter.split(labels, groups=sources[rows]))
    for name, of in FEATURES.items():
        values = of(data)[rows]
        told = [[_told(values[:, version], labels, *split) for split in splits] for version in (0, 1)]
        cells = [f"{np.mean(shares):.3f} ± {np.std(shares) / SPLITS**0.5:.3f}" for shares in told]
        yield name, [*cells, *_handling_told(of(data).astype(float), data)]


def _handling_told(values: Floats, data: Described) -> tuple[str, str]:
    """AUROC of re-encoding; mean square of the change by random histories."""
    fit, asked, weighing = (rows & ~data.is_ai for rows in (~data.held_out, data.held_out, data.weighs))
    suspicion = partial(mixture(64, 2), values[fit, 0])
    found, reencoded = (suspicion(values[asked, version]) for version in (0, 1))
    told = roc_auc_score(np.repeat([0, 1], asked.sum()), np.concatenate([found, reencoded]))
    unit, middle = spread(found), np.median(found)
    standings = [
        np.clip((suspicion(values[weighing, version]) - middle) / unit, -LIMIT, LIMIT)
        for version in (0, *range(len(STANDING), len(VERSIONS)))
    ]
    change = np.mean([(after - standings[0]) ** 2 for after in standings[1:]])
    return f"{told:.3f}", f"{change:.2f}"


def _told(values: Floats, labels: NDArray[np.str_], train: NDArray[np.intp], test: NDArray[np.intp]) -> float:
    fitted = np.unique(labels[train])
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.05, priors=np.full(len(fitted), 1 / len(fitted)))
    told = model.fit(values[train], labels[train]).predict(values[test])
    return float(np.mean([(told == make)[labels[test] == make].mean() for make in np.unique(labels[test])]))


# ---- the read-out, one thing changed ----------------------------------------------------------------------


def only(columns: NDArray[np.bool_]) -> Callable[[Described], Described]:
    return lambda data: replace(data, statistics=data.statistics * columns)


def group_columns(groups: set[int], parts: set[str]) -> NDArray[np.bool_]:
    """Columns of these residual groups and of these histograms at both scales: `along`, `across`, `colours`."""
    size = cooccurrence.DIMENSIONS // GROUPS
    neighbours = (size - 63) // 2
    kinds = np.repeat(["along", "across", "colours"], [neighbours, neighbours, 63])
    scale = np.concatenate([np.isin(kinds, list(parts)) & (group in groups) for group in range(GROUPS)])
    return np.concatenate([*[scale] * SCALES, np.ones(SCALES * (periods.DIMENSIONS + ONE_SCALE), dtype=bool)])


def at_scale(number: int) -> NDArray[np.bool_]:
    """Columns of one scale."""
    parts = (cooccurrence.DIMENSIONS, periods.DIMENSIONS, ONE_SCALE)
    return np.concatenate([np.repeat(np.arange(SCALES) == number, part) for part in parts])


EVERY, ALL = set(range(GROUPS)), {"along", "across", "colours"}
READ_OUT: dict[str, Callable[[Described], Described]] = {
    "as shipped": lambda data: data,
    "full size alone": only(at_scale(0)),
    "half size alone": only(at_scale(1)),
    "without the self-description": lambda data: replace(data, statistics=data.statistics[..., :RESIDUALS]),
    "without periods": lambda data: replace(
        data, statistics=np.delete(data.statistics, np.s_[COOCCURRENCES:RESIDUALS], axis=-1)
    ),
    "periods alone": lambda data: replace(data, statistics=data.statistics[..., COOCCURRENCES:RESIDUALS]),
    "the self-description alone": lambda data: replace(data, statistics=data.self_descriptions),
    "without histograms of the three colours": only(group_columns(EVERY, ALL - {"colours"})),
    "without histograms of neighbours": only(group_columns(EVERY, {"colours"})),
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
        *(
            getattr(data, name)[taken]
            for name in ("kept", "statistics", "self_descriptions", "embeddings", "network", "handling")
        ),
    )


def read_out_rows(data: Described) -> Iterator[tuple[str, list[str]]]:
    for name, change in track(READ_OUT.items(), "rows"):
        areas = np.stack([_areas(change(drawn(data, seed))) for seed in SEEDS])  # (seeds, folds, 2)
        figures = [summary(areas, axis=1)[:, version] for version in (0, 1) for summary in (np.mean, np.min)]
        yield name, [" / ".join(f"{value:.3f}" for value in by_seed) for by_seed in figures]


def _areas(data: Described) -> Floats:
    """AUROC of the statistics alone in each fold, as found and re-encoded."""
    found = []
    for fold in folds(data, tuple(FAMILIES), PHONES):
        probability, (images, is_ai) = read_out_probability(data, fold), images_of(data, fold)
        found.append([roc_auc_score(is_ai, mean_by(images, logit(by_version))) for by_version in probability.T])
    return np.array(found)


TABLES: dict[str, tuple[str, Callable[[Described], Iterator[tuple[str, list[str]]]]]] = {
    "one-class": ("| one-class model | AUROC as found | AUROC re-encoded |", one_class_rows),
    "makes": ("| features | makes told, as found | re-encoded | re-encoding told | change by handling |", make_rows),
    "read-out": ("| read-out | mean, as found | worst | mean, re-encoded | worst |", read_out_rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("real", "ai", "release", "cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args()
    data = described_folders(options.real, options.ai, options.release, options.cache, seed=0)
    for table in options.tables:
        heading, rows = TABLES[table]
        print(f"\n{heading}\n|{'---|' * (heading.count('|') - 1)}")  # noqa: T201
        for name, cells in rows(data):
            print(f"| {name} | {' | '.join(cells)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
