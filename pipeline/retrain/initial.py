"""Fits a release's first one-class model on a folder of photographs; the nightly job (`run.py`) refits it later."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pipeline.decode import decode
from pipeline.drift import MISSING
from pipeline.errors import RejectedUpload
from pipeline.one_class import FORMAT, Floats, Mixture, OneClassModel, Traces, Views, logit
from pipeline.patches import NotApplicable, cut
from pipeline.ports import Detector
from pipeline.read_out import ReadOut
from pipeline.records import FEATURE_DIM, DecodedImage, Handling, ModelVersion, Patches
from pipeline.retrain.described import History
from pipeline.retrain.fit import PhotoFeatures, by_stability, fit_mixture, fit_one_class, view_facts
from pipeline.settings import LimitSettings
from pipeline.statistics import describe, self_described
from pipeline.windows import TOGETHER, windows

PATCH_SAMPLE = 20_000
"""Patches that the heat map's mixture is fitted on."""

PATCH_AXES, PATCH_COMPONENTS = 32, 5

NO_PATCHES = np.empty((0, FEATURE_DIM), dtype=np.float32)
"""In their place where they are not fitted on: they are most of a sample's bytes."""

HISTORIES = 10
"""Random ones of each photograph that calibrates or weighs, beside itself as found."""

LEAST_ALIKE = 9
"""Photographs of a stratum that it takes for a p-value of 10 %. With fewer, everything in it would be `camera`."""

VERSIONS = 10
"""Drawn of each photograph that a stratum has, from its versions there."""


@dataclass(frozen=True, slots=True)
class PhotoFiles:
    """One photograph; a folder may hold several crops of it."""

    files: tuple[Path, ...]
    group: str
    """Photographs that may share a source or a camera have the same group."""
    held_out: bool
    """Kept out of the networks' training; the others are fitted on."""
    weighs: bool = False
    """Held out, and used up by the weights of the binary head and of the views: it neither fits nor calibrates."""
    make: str | None = None
    """As the header spells it."""


@dataclass(frozen=True, slots=True)
class _Sample:
    photo: PhotoFiles
    format: str
    traces: Traces
    """(1, ...)"""
    patch_features: NDArray[np.float32]
    ai_probability: float
    """The binary head's."""
    handling: Handling
    """As told from the pixels."""


@dataclass(frozen=True, slots=True)
class Examined:
    """Photograph -> sample, by the networks of a release and its read-out."""

    detector: Detector
    model: ModelVersion
    read_out: ReadOut
    limits: LimitSettings

    def detect(
        self, photo: PhotoFiles, change: Callable[[DecodedImage], DecodedImage] = lambda image: image
    ) -> _Sample | None:
        """What is found in its crops, on average: they are different places of a picture, so each is looked at by
        itself, and counts by its windows (ADR 15, 16). None for a photograph without a usable patch."""
        crops, format = [], ""
        for file in photo.files:
            try:
                image = decode(file.read_bytes(), self.limits)
                crops.append(cut(change(image), self.limits.patch_budget))
            except (RejectedUpload, NotApplicable):
                continue
            format = image.format
        if not crops:
            return None
        crops = list(_up_to(self.limits.patch_budget, crops))
        counts = [len(windows(len(crop.pixels))) for crop in crops]
        seen = [self.detector.detect(crop, self.model) for crop in crops]
        statistics = np.average([describe(crop.pixels) for crop in crops], axis=0, weights=counts)
        log_odds = np.average(logit(np.array([output.ai_probability for output in seen])), weights=counts)
        return _Sample(
            photo=photo,
            format=format,
            traces=Traces.of(
                np.average([output.encoder.embedding for output in seen], axis=0, weights=counts)[None],
                self_described(statistics)[None],
                np.array([sum(len(crop.pixels) for crop in crops)]),
            ),
            patch_features=np.concatenate([output.encoder.patch_features for output in seen]),
            ai_probability=float(self.read_out.probability(np.asarray(expit(log_odds)), statistics)),
            handling=Handling(int(self.read_out.handling_probabilities(statistics).argmax())),
        )


def _up_to(budget: int, parts: Iterable[Patches]) -> Iterator[Patches]:
    """The first `budget` patches of several crops."""
    for part in parts:
        if budget > 0:
            yield Patches(pixels=part.pixels[:budget], corners=part.corners[:budget])
        budget -= len(part.pixels)


def fit_first(
    photos: Sequence[PhotoFiles],
    history: History,
    examined: Examined,
    *,
    seed: int = 0,
    track: Callable[[Iterable[PhotoFiles]], Iterable[PhotoFiles]] = iter,
) -> tuple[OneClassModel, dict[str, Any]]:
    """The model and the facts for its card. `track` may draw a progress bar.

    A photograph is one sample however many crops of it there are: crops of one photograph are not exchangeable with
    photographs, and the conformal promise is about photographs.
    """
    fit, parts, calibration, weighing = _examined(photos, history, examined, seed, track)
    as_found = [versions[0] for versions in calibration]
    one_class, tried = fit_one_class(
        replace(_features(fit), parts=_traces(parts)),
        _features(as_found),
        patch=_fit_patches(fit, seed),
        weigh=partial(_weighed, weighing=weighing),
        seed=seed,
    )
    one_class = replace(one_class, strata=_strata(one_class, calibration, seed), versions=VERSIONS)
    card = {
        "format": FORMAT,
        "fit_photos": len(fit),
        "calibration_photos": len(calibration),
        "calibration_photos_by_stratum": {
            kind.name.lower(): count for kind, count in zip(Handling, one_class.photographs_alike, strict=True)
        },
        "fit_groups": len({sample.photo.group for sample in fit}),
        "calibration_groups": len({sample.photo.group for sample in as_found}),
        "weighing_photos": len(weighing),
        "not_applicable": len(photos) - len(fit) - len(calibration) - len(weighing),
        "patch_budget": examined.limits.patch_budget,
        "views": view_facts(one_class.image),
        "weights": dict(zip(("log_likelihood", "ai_logit"), one_class.fusion.weights, strict=True)),
        "tried": tried,
        "seed": seed,
        "calibration_makes": Counter(sample.photo.make or MISSING for sample in as_found),
        "calibration_formats": Counter(sample.format for sample in as_found),
        "calibration_sha256": hashlib.sha256(one_class.calibration_fused.tobytes()).hexdigest(),
    }
    return one_class, card


class _Seen(NamedTuple):
    fit: list[_Sample]
    parts: list[_Sample]
    """One window of each of `fit`: how a photograph's standing grows with windows is measured by them."""
    calibration: list[list[_Sample]]
    """Of each photograph: as found, then after random histories."""
    weighing: list[list[_Sample]]
    """The same."""


def _examined(
    photos: Sequence[PhotoFiles],
    history: History,
    examined: Examined,
    seed: int,
    track: Callable[[Iterable[PhotoFiles]], Iterable[PhotoFiles]],
) -> _Seen:
    one_window = replace(examined, limits=examined.limits.model_copy(update={"patch_budget": TOGETHER}))
    seen = _Seen([], [], [], [])
    for number, photo in enumerate(track(photos)):
        found = examined.detect(photo)
        if found is None:
            continue
        if photo.held_out:
            after = [examined.detect(photo, _drawn(history, (seed, number, version))) for version in range(HISTORIES)]
            versions = [replace(sample, patch_features=NO_PATCHES) for sample in (found, *after) if sample]
            (seen.weighing if photo.weighs else seen.calibration).append(versions)
        else:
            seen.fit.append(found)
            seen.parts.append(one_window.detect(photo) or found)
    return seen


def _drawn(history: History, seed: tuple[int, ...]) -> Callable[[DecodedImage], DecodedImage]:
    """One random history, the same for every crop of a photograph."""
    return lambda image: history(image, np.random.default_rng(seed))[0]


def _weighed(views: Views, weighing: Sequence[Sequence[_Sample]]) -> Views:
    """By how much these photographs' histories change; all alike where there is none."""
    pairs = [pair for found, *after in weighing for pair in product([found], after)]
    return by_stability(views, *(_traces(side) for side in zip(*pairs, strict=True))) if pairs else views


def _strata(model: OneClassModel, calibration: Sequence[Sequence[_Sample]], seed: int) -> tuple[Floats, ...]:
    """Fused scores by stratum, ascending: `VERSIONS` of each photograph that has a version there, all of these about
    equally often. So each photograph weighs the same in it, however often it falls into it. All photographs as found
    answer for a stratum of fewer than `LEAST_ALIKE`."""
    random = np.random.default_rng(seed)
    scores: dict[Handling, list[float]] = {kind: [] for kind in Handling}
    for versions in calibration:
        likelihood = model.image.log_likelihood(_traces(versions))
        fused = model.fusion.fuse(likelihood, np.array([sample.ai_probability for sample in versions]))
        told = np.array([sample.handling for sample in versions])
        for kind in Handling:
            if (told == kind).any():
                scores[kind].extend(np.resize(random.permutation(fused[told == kind]), VERSIONS))
    everything = np.repeat(model.calibration_fused, VERSIONS)
    return tuple(
        np.sort(scores[kind]) if len(scores[kind]) >= LEAST_ALIKE * VERSIONS else everything for kind in Handling
    )


def _features(samples: Sequence[_Sample]) -> PhotoFeatures:
    return PhotoFeatures(
        traces=_traces(samples),
        ai_probabilities=np.array([sample.ai_probability for sample in samples]),
        groups=np.array([sample.photo.group for sample in samples]),
    )


def _traces(samples: Sequence[_Sample]) -> Traces:
    return Traces.stacked([sample.traces for sample in samples])


def _fit_patches(samples: Sequence[_Sample], seed: int) -> Mixture:
    features: NDArray[np.float32] = np.concatenate([sample.patch_features for sample in samples])
    chosen = np.random.default_rng(seed).permutation(len(features))[:PATCH_SAMPLE]
    return fit_mixture(features[chosen], axes=PATCH_AXES, components=PATCH_COMPONENTS, seed=seed)
