"""A small world of traces for tests of retraining: photographs lie near a subspace, generated images off it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.one_class import Floats, OneClassModel, Traces
from pipeline.ports import VerifiedPhoto
from pipeline.read_out import ReadOut
from pipeline.records import FEATURE_DIM, SELF_DESCRIPTION_DIM, Handling
from pipeline.retrain.fit import PhotoFeatures, fit_mixture, fit_one_class
from pipeline.statistics import DIMENSIONS

MAKES = ("Apple", "Canon", "Sony")
_AXES = 6


def _world(dimensions: int) -> tuple[Floats, Floats]:
    """The axes along which photographs differ, and what generated images have beside them."""
    return (
        np.random.default_rng(1).normal(size=(_AXES, dimensions)),
        np.random.default_rng(2).normal(size=dimensions) * 0.5,
    )


def _features(dimensions: int, count: int, seed: int, *, generated: bool) -> NDArray[np.float32]:
    mixing, off_camera = _world(dimensions)
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, _AXES)) @ mixing + 0.1 * rng.normal(size=(count, dimensions))
    return (rows + off_camera * rng.normal(1, 0.2, (count, 1)) * generated).astype(np.float32)


def features(count: int, seed: int, *, generated: bool = False) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings and self-descriptions of `count` images."""
    return (
        _features(FEATURE_DIM, count, seed, generated=generated),
        _features(SELF_DESCRIPTION_DIM, count, seed + 1000, generated=generated),
    )


def people(count: int, *, seed: int = 0, generated: bool = False) -> list[VerifiedPhoto]:
    """Verified photographs of a crowd, three each, of 60 camera models. `generated`: a crowd that cheats."""
    rng = np.random.default_rng(seed)
    photos = []
    embeddings, self_descriptions = features(count, 100 + seed, generated=generated)
    for number in range(count):
        who = number // 3
        photos.append(
            VerifiedPhoto(
                sha256=f"{seed:032x}{number:032x}",
                uploader_id=f"user-{seed}-{who}",
                make=MAKES[who % 3],
                model=f"model-{who % 60}",
                surface="posts",
                embedding=embeddings[number],
                self_description=self_descriptions[number],
                patch_count=16,
                ai_probability=float(rng.uniform(0.05, 0.3)),
            )
        )
    return photos


def confirmed(count: int, *, seed: int = 50) -> list[VerifiedPhoto]:
    """Images that reviewers agreed are generated; the binary detector is not sure of them."""
    rng = np.random.default_rng(seed)
    embeddings, self_descriptions = features(count, seed, generated=True)
    return [
        VerifiedPhoto(
            sha256=f"ai-{seed}-{number}",
            uploader_id=None,
            make=None,
            model=None,
            surface="posts",
            embedding=embeddings[number],
            self_description=self_descriptions[number],
            patch_count=16,
            ai_probability=float(rng.uniform(0.2, 0.5)),
        )
        for number in range(count)
    ]


@cache
def first_model() -> OneClassModel:
    """As a release would bring it: fitted on other photographs of the same world."""
    patch = fit_mixture(features(60, 7)[0], axes=4, components=1, seed=0)
    unalike = {"embedding": 1.0, "means": 0.8, "deviations": 1.2}
    return fit_one_class(
        _photos(8),
        _photos(9),
        patch=patch,
        weigh=lambda views: views.weighing(unalike),
        weights=(1.0, 1.0),
        seed=0,
    )[0]


def _photos(seed: int) -> PhotoFeatures:
    groups = np.array([f"camera-{row % 12}" for row in range(200)])
    traces = Traces.of(*features(200, seed), patch_counts=np.full(200, 16))
    return PhotoFeatures(traces, np.random.default_rng(seed).uniform(0.05, 0.3, 200), groups)


def silent_read_out() -> ReadOut:
    """Leaves the network's probability as it is, and tells no handling: every image is as made."""
    zeros, ones = np.zeros(DIMENSIONS), np.ones(DIMENSIONS)
    untold = np.zeros((DIMENSIONS + 1, len(Handling)))
    return ReadOut(zeros, ones, zeros, np.zeros(1), np.array([1.0, 0.0, 0.0]), untold)
