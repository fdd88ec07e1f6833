"""Labelled crops -> what the heads are fitted on: residual statistics and embeddings, each after several histories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.cooccurrence import describe
from pipeline.evaluation.conditions import STANDING, degrade
from pipeline.patches import NotApplicable, cut
from pipeline.ports import Detector
from pipeline.records import DecodedImage, ModelVersion

Pixels = NDArray[np.uint8]
History = Callable[[Pixels, np.random.Generator], Pixels]

PATCHES = 16
"""Patches of a crop: all of a crop of 256 px."""

VERSIONS = (*STANDING, "random")
"""How a crop reached us: as found, after the common re-encoding, after a random history."""


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


@dataclass(frozen=True, slots=True)
class Described:
    """n crops under the histories of `VERSIONS`."""

    crops: tuple[LabelledCrop, ...]
    kept: NDArray[np.int64]
    """(n,): their places among those that were to be described."""
    statistics: NDArray[np.float32]
    """(n, versions, D)"""
    embeddings: NDArray[np.float32]
    """(n, 2, 528): as found and re-encoded."""
    network: NDArray[np.float64]
    """(n, 2): the binary network's probability, as found and re-encoded."""

    @property
    def is_ai(self) -> NDArray[np.bool_]:
        return np.array([crop.is_ai for crop in self.crops])

    @property
    def held_out(self) -> NDArray[np.bool_]:
        return np.array([crop.held_out for crop in self.crops])

    @property
    def weights(self) -> NDArray[np.float64]:
        """(n,): a (source, camera) group weighs the square root of its crops; each class sums to 1."""
        groups = [(crop.source, crop.camera) for crop in self.crops]
        _, member, sizes = np.unique(
            np.array([f"{source}\0{camera}" for source, camera in groups]), return_inverse=True, return_counts=True
        )
        return balance(1 / np.sqrt(sizes[member]), self.is_ai)

    def save(self, file: Path) -> None:
        """The arrays, as an `.npz` archive; the crops are named by their places among those described."""
        np.savez(file, kept=self.kept, statistics=self.statistics, embeddings=self.embeddings, network=self.network)

    @classmethod
    def load(cls, file: Path, crops: Sequence[LabelledCrop]) -> Described:
        """Inverse of `save`, given the crops that were described."""
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return cls(tuple(crops[number] for number in arrays["kept"]), **arrays)


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
    kept, statistics, embeddings, network = [], [], [], []
    for number, crop in enumerate(track(crops)):
        random = np.random.default_rng((seed, number))
        image = DecodedImage(crop.pixels, "JPEG")
        versions = [degrade(image, name) for name in STANDING] + [DecodedImage(history(crop.pixels, random), "JPEG")]
        try:
            patches = [cut(version, PATCHES) for version in versions]
        except NotApplicable:
            continue
        outputs = [detector.detect(part, model) for part in patches[: len(STANDING)]]
        kept.append(number)
        statistics.append([describe(part.pixels) for part in patches])
        embeddings.append([output.encoder.embedding for output in outputs])
        network.append([output.ai_probability for output in outputs])
    return Described(
        tuple(crops[number] for number in kept),
        np.array(kept, dtype=np.int64),
        np.array(statistics),
        np.array(embeddings),
        np.array(network),
    )
