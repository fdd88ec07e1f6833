"""Fits a release's first one-class model on a folder of photographs; the nightly job (`run.py`) refits it later."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cooccurrence import describe
from pipeline.decode import decode
from pipeline.drift import MISSING
from pipeline.errors import RejectedUpload
from pipeline.one_class import Mixture, OneClassModel
from pipeline.patches import NotApplicable, cut
from pipeline.ports import Detector
from pipeline.read_out import ReadOut
from pipeline.records import DetectorOutput, ModelVersion, Patches
from pipeline.retrain.fit import PhotoFeatures, fit_mixture, fit_one_class
from pipeline.settings import LimitSettings

PATCH_SAMPLE = 20_000
"""Patches that the heat map's mixture is fitted on."""

PATCH_AXES, PATCH_COMPONENTS = 32, 5


@dataclass(frozen=True, slots=True)
class PhotoFiles:
    """One photograph; a folder may hold several crops of it."""

    files: tuple[Path, ...]
    group: str
    """Photographs that may share a source or a camera have the same group."""
    held_out: bool
    """Kept out of the networks' training: these calibrate, the others are fitted on."""
    make: str | None = None
    """As the header spells it."""


def fit_first(
    photos: Sequence[PhotoFiles],
    detector: Detector,
    model: ModelVersion,
    read_out: ReadOut,
    limits: LimitSettings,
    *,
    seed: int = 0,
    track: Callable[[Iterable[PhotoFiles]], Iterable[PhotoFiles]] = iter,
) -> tuple[OneClassModel, dict[str, Any]]:
    """The model and the facts for its card. `track` may draw a progress bar.

    A photograph is one sample however many crops of it there are: crops of one photograph are not exchangeable with
    photographs, and the conformal promise is about photographs.
    """
    samples = [sample for photo in track(photos) if (sample := _detect(photo, detector, model, read_out, limits))]
    fit = [sample for sample in samples if not sample.photo.held_out]
    calibration = [sample for sample in samples if sample.photo.held_out]
    patch = _fit_patches(fit, seed)
    weights = (float(read_out.fusion[0]), float(read_out.fusion[1]))
    one_class, tried = fit_one_class(_features(fit), _features(calibration), patch=patch, weights=weights, seed=seed)
    card = {
        "format": 1,
        "fit_photos": len(fit),
        "calibration_photos": len(calibration),
        "fit_groups": len({sample.photo.group for sample in fit}),
        "calibration_groups": len({sample.photo.group for sample in calibration}),
        "not_applicable": len(photos) - len(samples),
        "patch_budget": limits.patch_budget,
        "axes": one_class.image.axes.shape[1],
        "components": len(one_class.image.weights),
        "tried": tried,
        "seed": seed,
        "calibration_makes": Counter(sample.photo.make or MISSING for sample in calibration),
        "calibration_formats": Counter(sample.format for sample in calibration),
        "calibration_sha256": hashlib.sha256(one_class.calibration_fused.tobytes()).hexdigest(),
    }
    return one_class, card


@dataclass(frozen=True, slots=True)
class _Sample:
    photo: PhotoFiles
    format: str
    output: DetectorOutput
    ai_probability: float
    """The binary head's."""


def _detect(
    photo: PhotoFiles, detector: Detector, model: ModelVersion, read_out: ReadOut, limits: LimitSettings
) -> _Sample | None:
    """Both networks on the patches of all crops together; None for a photograph without a usable patch."""
    parts, format = [], ""
    for file in photo.files:
        try:
            image = decode(file.read_bytes(), limits)
            parts.append(cut(image, limits.patch_budget))
        except (RejectedUpload, NotApplicable):
            continue
        format = image.format
    if not parts:
        return None
    pixels = np.concatenate([part.pixels for part in parts])[: limits.patch_budget]
    corners = np.concatenate([part.corners for part in parts])[: limits.patch_budget]
    output = detector.detect(Patches(pixels=pixels, corners=corners), model)
    probability = float(read_out.probability(np.array(output.ai_probability), describe(pixels)))
    return _Sample(photo, format, output, probability)


def _features(samples: Sequence[_Sample]) -> PhotoFeatures:
    return PhotoFeatures(
        embeddings=np.stack([sample.output.encoder.embedding for sample in samples]),
        ai_probabilities=np.array([sample.ai_probability for sample in samples]),
        groups=np.array([sample.photo.group for sample in samples]),
    )


def _fit_patches(samples: Sequence[_Sample], seed: int) -> Mixture:
    features: NDArray[np.float32] = np.concatenate([sample.output.encoder.patch_features for sample in samples])
    chosen = np.random.default_rng(seed).permutation(len(features))[:PATCH_SAMPLE]
    return fit_mixture(features[chosen], axes=PATCH_AXES, components=PATCH_COMPONENTS, seed=seed)
