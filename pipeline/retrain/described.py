"""Labelled crops -> what the heads are fitted on: residual statistics and embeddings, each after several histories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.conditions import STANDING, degrade
from pipeline.one_class import Traces
from pipeline.patches import NotApplicable, cut
from pipeline.ports import Detector
from pipeline.records import FEATURE_DIM, DecodedImage, Handling, ModelVersion, Patches
from pipeline.statistics import describe, self_described
from pipeline.windows import TOGETHER

Pixels = NDArray[np.uint8]
History = Callable[[DecodedImage, np.random.Generator], tuple[DecodedImage, Handling]]

FORMAT = 8
"""Goes up when patches are cut, statistics taken or histories drawn in another way: crops are then described anew."""

HISTORIES = 3
"""Random ones of each crop."""

VERSIONS = (*STANDING, *(f"history {number}" for number in range(1, HISTORIES + 1)))
"""How a crop reached us: as found, after the common re-encoding, after random histories."""


@dataclass(frozen=True, slots=True)
class LabelledCrop:
    pixels: Pixels
    """(h, w, 3)"""
    is_ai: bool
    photograph: str
    """Crops of one image share it."""
    source: str
    camera: str
    """Camera model; of an AI image the generator."""
    make: str
    """Lower case, first word; empty for an AI image."""
    held_out: bool
    """Kept out of the networks' training."""
    weighs: bool
    """Held out, and what the weights of the binary head's two opinions and of the one-class model's views come from; it
    does not calibrate."""


@dataclass(frozen=True, slots=True)
class Described:
    """n crops under the histories of `VERSIONS`. The networks look at random histories of crops that weigh alone."""

    crops: tuple[LabelledCrop, ...]
    kept: NDArray[np.int64]
    """(n,): their places among those that were to be described."""
    statistics: NDArray[np.float32]
    """(n, versions, D): what the read-out looks at."""
    self_descriptions: NDArray[np.float32]
    """(n, versions, 288): what the one-class model looks at, beside embeddings. Kept by themselves, so that an
    ablation of the read-out's statistics leaves them alone."""
    embeddings: NDArray[np.float32]
    """(n, versions, 528); NaN where the networks did not look."""
    network: NDArray[np.float64]
    """(n, versions): the binary network's probability, or NaN."""
    handling: NDArray[np.int64]
    """(n, versions): `Handling` by the history that was drawn; what befell the file before is not known."""

    @property
    def is_ai(self) -> NDArray[np.bool_]:
        return np.array([crop.is_ai for crop in self.crops])

    @property
    def held_out(self) -> NDArray[np.bool_]:
        return np.array([crop.held_out for crop in self.crops])

    @property
    def weighs(self) -> NDArray[np.bool_]:
        return np.array([crop.weighs for crop in self.crops])

    @property
    def weights(self) -> NDArray[np.float64]:
        """(n,): a (source, camera) group weighs the square root of its crops; each class sums to 1."""
        groups = [(crop.source, crop.camera) for crop in self.crops]
        _, member, sizes = np.unique(
            np.array([f"{source}\0{camera}" for source, camera in groups]), return_inverse=True, return_counts=True
        )
        return balance(1 / np.sqrt(sizes[member]), self.is_ai)

    def traces(self, rows: NDArray[np.bool_], version: int) -> Traces:
        """Of some crops under one history."""
        return one_window(self.embeddings[rows, version], self.self_descriptions[rows, version])

    def images(self, rows: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Image of each of these crops, (rows,): numbers from 0, photographs before AI images."""
        names = [f"{crop.is_ai} {crop.photograph}" for crop, taken in zip(self.crops, rows, strict=True) if taken]
        return np.asarray(np.unique(names, return_inverse=True)[1])

    def image_traces(self, rows: NDArray[np.bool_], version: int) -> Traces:
        """Of the images of some crops under one history: means over crops."""
        images = self.images(rows)
        embeddings, described = (mean_by(images, of[rows, version]) for of in (self.embeddings, self.self_descriptions))
        return Traces.of(embeddings, described, TOGETHER * np.bincount(images))

    def first_crops(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(n,): of these crops the first of each image."""
        first = np.zeros(len(rows), dtype=bool)
        first[np.flatnonzero(rows)[np.unique(self.images(rows), return_index=True)[1]]] = True
        return first

    def image_sources(self, rows: NDArray[np.bool_]) -> NDArray[np.str_]:
        """Of the images of some crops, (images,)."""
        first = self.first_crops(rows)
        sources = np.array([crop.source for crop, taken in zip(self.crops, first, strict=True) if taken])
        return np.asarray(sources[np.argsort(self.images(first))])

    def histories(self, rows: NDArray[np.bool_]) -> tuple[Traces, Traces]:
        """Of some crops that weigh, for each random history: traces as found, and row by row after it."""
        standing = len(STANDING)
        seen = (self.embeddings[rows], self.self_descriptions[rows])
        found = (np.repeat(features[:, 0], HISTORIES, axis=0) for features in seen)
        after = (features[:, standing:].reshape(-1, features.shape[-1]) for features in seen)
        return one_window(*found), one_window(*after)

    def save(self, file: Path) -> None:
        """The arrays, as an `.npz` archive; the crops are named by their places among those described."""
        np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self) if field.name != "crops"})

    @classmethod
    def load(cls, file: Path, crops: Sequence[LabelledCrop]) -> Described:
        """Inverse of `save`, given the crops that were described."""
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return cls(tuple(crops[number] for number in arrays["kept"]), **arrays)


def mean_by(groups: NDArray[np.intp], values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of each group's values, (n, ...) -> (groups, ...)."""
    order, sizes = np.argsort(groups, kind="stable"), np.bincount(groups)
    sums = np.add.reduceat(values[order].astype(np.float64), np.cumsum(sizes) - sizes, axis=0)
    return np.asarray(sums / sizes.reshape(-1, *[1] * (values.ndim - 1)))


def one_window(embeddings: NDArray[np.float32], self_descriptions: NDArray[np.float32]) -> Traces:
    """From (n, 528) and (n, 288) of crops, each of which is one window, or not quite."""
    return Traces.of(embeddings, self_descriptions, np.full(len(embeddings), TOGETHER))


def balance(weights: NDArray[np.float64], is_ai: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Both classes alike: each sums to 1 (0 if it is empty)."""
    totals = np.where(is_ai, weights[is_ai].sum(), weights[~is_ai].sum())
    return np.asarray(weights / totals)


def describe_crops(
    crops: Sequence[LabelledCrop],
    history: History,
    detector: Detector,
    model: ModelVersion,
    *,
    seed: int = 0,
    track: Callable[[Iterable[LabelledCrop]], Iterable[LabelledCrop]] = iter,
) -> Described:
    """Crops without a usable patch under one of the histories are left out. `track` may draw a progress bar."""
    kept, described, embeddings, network, handling = [], [], [], [], []
    for number, crop in enumerate(track(crops)):
        random = np.random.default_rng((seed, number))
        image = DecodedImage(crop.pixels, "JPEG")
        histories = [history(image, random) for _ in range(HISTORIES)]
        versions = [degrade(image, name) for name in STANDING]
        versions += [changed for changed, _ in histories]
        try:
            patches = [cut(version, TOGETHER) for version in versions]
        except NotApplicable:
            continue
        looked_at = len(VERSIONS) if crop.weighs else len(STANDING)
        seen, probabilities = _networks(patches, looked_at, detector, model)
        kept.append(number)
        described.append([describe(part.pixels) for part in patches])
        embeddings.append(seen)
        network.append(probabilities)
        handling.append([Handling.AS_MADE] * len(STANDING) + [kind for _, kind in histories])
    return Described(
        tuple(crops[number] for number in kept),
        np.array(kept, dtype=np.int64),
        np.array(described),
        self_described(np.array(described)),
        np.array(embeddings),
        np.array(network),
        np.array(handling, dtype=np.int64),
    )


def _networks(
    patches: Sequence[Patches], looked_at: int, detector: Detector, model: ModelVersion
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Embeddings (versions, 528) and probabilities (versions,) of the first `looked_at` versions; NaN of the others."""
    embeddings = np.full((len(patches), FEATURE_DIM), np.nan, np.float32)
    probabilities = np.full(len(patches), np.nan)
    for version, part in enumerate(patches[:looked_at]):
        output = detector.detect(part, model)
        embeddings[version], probabilities[version] = output.encoder.embedding, output.ai_probability
    return embeddings, probabilities
