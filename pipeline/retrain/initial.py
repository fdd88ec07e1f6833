"""Fits a release's first one-class model on a folder of photographs; the nightly job (`run.py`) refits it later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.decode import decode
from pipeline.errors import RejectedUpload
from pipeline.one_class import Mixture, OneClassModel
from pipeline.patches import NotApplicable, cut
from pipeline.ports import Detector
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


def fit_first(
    photos: Sequence[PhotoFiles],
    detector: Detector,
    model: ModelVersion,
    limits: LimitSettings,
    *,
    seed: int = 0,
    track: Callable[[Iterable[PhotoFiles]], Iterable[PhotoFiles]] = iter,
) -> tuple[OneClassModel, dict[str, Any]]:
    """The model and the facts for its card. `track` may draw a progress bar.

    A photograph is one sample however many crops of it there are: crops of one photograph are not exchangeable with
    photographs, and the conformal promise is about photographs.
    """
    outputs = [(photo, output) for photo in track(photos) if (output := _detect(photo, detector, model, limits))]
    fit = [(photo, output) for photo, output in outputs if not photo.held_out]
    calibration = [(photo, output) for photo, output in outputs if photo.held_out]
    patch = _fit_patches([output for _, output in fit], seed)
    one_class, tried = fit_one_class(_features(fit), _features(calibration), patch=patch, seed=seed)
    card = {
        "format": 1,
        "fit_photos": len(fit),
        "calibration_photos": len(calibration),
        "fit_groups": len({photo.group for photo, _ in fit}),
        "calibration_groups": len({photo.group for photo, _ in calibration}),
        "not_applicable": len(photos) - len(outputs),
        "patch_budget": limits.patch_budget,
        "axes": one_class.image.axes.shape[1],
        "components": len(one_class.image.weights),
        "tried": tried,
        "seed": seed,
        "calibration_sha256": hashlib.sha256(one_class.calibration_fused.tobytes()).hexdigest(),
    }
    return one_class, card


def _detect(photo: PhotoFiles, detector: Detector, model: ModelVersion, limits: LimitSettings) -> DetectorOutput | None:
    """Both networks on the patches of all crops together; None for a photograph without a usable patch."""
    parts = []
    for file in photo.files:
        try:
            parts.append(cut(decode(file.read_bytes(), limits), limits.patch_budget))
        except (RejectedUpload, NotApplicable):
            continue
    if not parts:
        return None
    pixels = np.concatenate([part.pixels for part in parts])[: limits.patch_budget]
    corners = np.concatenate([part.corners for part in parts])[: limits.patch_budget]
    return detector.detect(Patches(pixels=pixels, corners=corners), model)


def _features(samples: Sequence[tuple[PhotoFiles, DetectorOutput]]) -> PhotoFeatures:
    return PhotoFeatures(
        embeddings=np.stack([output.encoder.embedding for _, output in samples]),
        ai_probabilities=np.array([output.ai_probability for _, output in samples]),
        groups=np.array([photo.group for photo, _ in samples]),
    )


def _fit_patches(outputs: Sequence[DetectorOutput], seed: int) -> Mixture:
    features: NDArray[np.float32] = np.concatenate([output.encoder.patch_features for output in outputs])
    chosen = np.random.default_rng(seed).permutation(len(features))[:PATCH_SAMPLE]
    return fit_mixture(features[chosen], axes=PATCH_AXES, components=PATCH_COMPONENTS, seed=seed)
