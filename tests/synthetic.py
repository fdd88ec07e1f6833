"""A small world of embeddings for tests of retraining: photographs lie near a subspace, generated images off it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.cooccurrence import DIMENSIONS
from pipeline.one_class import OneClassModel
from pipeline.ports import VerifiedPhoto
from pipeline.read_out import ReadOut
from pipeline.records import FEATURE_DIM, Handling
from pipeline.retrain.fit import PhotoFeatures, fit_mixture, fit_one_class

MAKES = ("Apple", "Canon", "Sony")
_AXES = 6
_MIXING = np.random.default_rng(1).normal(size=(_AXES, FEATURE_DIM))
_OFF_CAMERA = np.random.default_rng(2).normal(size=FEATURE_DIM) * 0.5


def embeddings(count: int, seed: int, *, generated: bool = False) -> NDArray[np.float32]:
    """(count, 528)."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, _AXES)) @ _MIXING + 0.1 * rng.normal(size=(count, FEATURE_DIM))
    return (rows + _OFF_CAMERA * rng.normal(1, 0.2, (count, 1)) * generated).astype(np.float32)


def people(count: int, *, seed: int = 0, generated: bool = False) -> list[VerifiedPhoto]:
    """Verified photographs of a crowd, three each, of 60 camera models. `generated`: a crowd that cheats."""
    rng = np.random.default_rng(seed)
    photos = []
    for number, embedding in enumerate(embeddings(count, 100 + seed, generated=generated)):
        who = number // 3
        photos.append(
            VerifiedPhoto(
                sha256=f"{seed:032x}{number:032x}",
                uploader_id=f"user-{seed}-{who}",
                make=MAKES[who % 3],
                model=f"model-{who % 60}",
                surface="posts",
                embedding=embedding,
                ai_probability=float(rng.uniform(0.05, 0.3)),
            )
        )
    return photos


def confirmed(count: int, *, seed: int = 50) -> list[VerifiedPhoto]:
    """Images that reviewers agreed are generated; the binary detector is not sure of them."""
    rng = np.random.default_rng(seed)
    return [
        VerifiedPhoto(f"ai-{seed}-{number}", None, None, None, "posts", embedding, float(rng.uniform(0.2, 0.5)))
        for number, embedding in enumerate(embeddings(count, seed, generated=True))
    ]


@cache
def first_model() -> OneClassModel:
    """As a release would bring it: fitted on other photographs of the same world."""
    patch = fit_mixture(embeddings(60, 7), axes=4, components=1, seed=0)
    return fit_one_class(_features(8), _features(9), patch=patch, seed=0)[0]


def _features(seed: int) -> PhotoFeatures:
    groups = np.array([f"camera-{row % 12}" for row in range(200)])
    return PhotoFeatures(embeddings(200, seed), np.random.default_rng(seed).uniform(0.05, 0.3, 200), groups)


def silent_read_out() -> ReadOut:
    """Leaves the network's probability as it is, and tells no handling: every image is as made."""
    zeros, ones = np.zeros(DIMENSIONS), np.ones(DIMENSIONS)
    untold = np.zeros((DIMENSIONS + 1, len(Handling)))
    return ReadOut(zeros, ones, zeros, np.zeros(1), np.array([1.0, 0.0, 0.0]), np.ones(2), untold)
