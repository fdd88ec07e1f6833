"""Fits the one-class model. The only module that needs scikit-learn.

Source: SDAIE section "one-class detection": scikit-learn's Gaussian mixture with five full-covariance components. Ours
projects on principal axes first and regularises the covariances, since the paper's 10,000 photographs are far more than
a platform's first verified ones; how many axes and components is chosen by the likelihood of held-out photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from pipeline.one_class import Fusion, Mixture, OneClassModel
from pipeline.records import Handling

Features = NDArray[np.floating]

AXES = (8, 16, 32, 64)
COMPONENTS = (1, 2, 5)
COVARIANCE_FLOOR = 1e-2
"""Added to the diagonal of each covariance, as a share of the mean variance along the kept axes."""

FOLDS = 4


@dataclass(frozen=True, slots=True)
class MixtureChoice:
    """A configuration and its mean held-out log-likelihood, nats per image."""

    axes: int
    components: int
    held_out_log_likelihood: float


@dataclass(frozen=True, slots=True)
class PhotoFeatures:
    """Features of photographs, one row each."""

    embeddings: Features
    """(n, 528)"""
    ai_probabilities: Features
    """(n,)"""
    groups: NDArray[np.str_]
    """(n,): photographs that may share a source or camera share a group; folds never part a group."""


def fit_mixture(features: Features, *, axes: int, components: int, seed: int) -> Mixture:
    """Fit on (n, D) features; needs n > axes."""
    features = np.asarray(features, dtype=np.float64)
    mean = features.mean(0)
    _, singular, directions = np.linalg.svd(features - mean, full_matrices=False)
    variances = singular**2 / len(features)
    kept = (features - mean) @ directions[:axes].T
    mixture = GaussianMixture(
        n_components=components,
        covariance_type="full",
        init_params="k-means++",
        reg_covar=COVARIANCE_FLOOR * float(variances[:axes].mean()),
        n_init=3,
        max_iter=200,
        random_state=seed,
    ).fit(kept)
    left_out = variances[axes:].sum() / max(features.shape[1] - axes, 1)
    return Mixture(
        mean=mean,
        axes=directions[:axes].T.copy(),
        residual_variance=np.array([max(left_out, 1e-12 * variances[0])]),
        weights=mixture.weights_,
        means=mixture.means_,
        precision_cholesky=mixture.precisions_cholesky_,
    )


def choose_mixture(photos: PhotoFeatures, *, seed: int) -> tuple[Mixture, list[MixtureChoice]]:
    """The configuration with the best held-out likelihood, refitted on all of `photos`, and every one tried."""
    folds = _folds(photos.groups, seed)
    smallest_fit = min(int((folds != fold).sum()) for fold in range(FOLDS))
    tried = [
        MixtureChoice(axes, components, float(_held_out(photos.embeddings, folds, axes, components, seed).mean()))
        for axes, components in product(AXES, COMPONENTS)
        if axes * components < smallest_fit / 2
    ]
    if not tried:
        raise ValueError(f"{len(photos.groups)} photographs are too few to fit a mixture on")
    best = max(tried, key=lambda choice: choice.held_out_log_likelihood)
    return fit_mixture(photos.embeddings, axes=best.axes, components=best.components, seed=seed), tried


def fit_one_class(
    fit: PhotoFeatures,
    calibration: PhotoFeatures,
    *,
    patch: Mixture,
    weights: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
) -> tuple[OneClassModel, list[dict[str, float]]]:
    """Fit on one set of photographs, calibrate on another. The caller sees to it that they share no source or camera.

    `patch` is the per-patch mixture of the heat map, which a refit takes over, and so are the fusion's `weights` of
    log-likelihood and binary logit. Returns the model and the tried configurations (for the card).
    """
    image, tried = choose_mixture(fit, seed=seed)
    axes, components = image.axes.shape[1], len(image.weights)
    fusion = standardised_fusion(_held_out(fit.embeddings, _folds(fit.groups, seed), axes, components, seed), weights)
    likelihood = image.log_likelihood(calibration.embeddings)
    model = OneClassModel(
        image=image,
        patch=patch,
        fusion=fusion,
        calibration_log_likelihood=np.sort(likelihood),
        calibration_ai_probability=np.sort(np.asarray(calibration.ai_probabilities, dtype=np.float64)),
        calibration_fused=np.sort(fusion.fuse(likelihood, calibration.ai_probabilities)),
    )
    return model, [asdict(choice) for choice in tried]


def standardised_fusion(log_likelihood: Features, weights: tuple[float, float]) -> Fusion:
    """The log-likelihood is standardised by photographs that it was not fitted on; the binary logit stays as it is."""
    return Fusion(
        log_likelihood_location=float(np.median(log_likelihood)),
        log_likelihood_scale=spread(log_likelihood),
        log_likelihood_weight=weights[0],
        ai_logit_weight=weights[1],
    )


def stratified(
    model: OneClassModel, photos: PhotoFeatures, handlings: Sequence[Handling | None], *, least: int
) -> OneClassModel:
    """`model` with strata of these calibration photographs, one row each, as each was handled (ADR 8).

    A stratum of fewer than `least` of them could not accuse anybody: all calibration photographs answer for it.
    """
    if not any(handling is not None for handling in handlings):
        return model
    fused = model.fusion.fuse(model.image.log_likelihood(photos.embeddings), photos.ai_probabilities)
    by_handling = {kind: fused[[handling is kind for handling in handlings]] for kind in Handling}
    strata = tuple(
        np.sort(scores) if len(scores) >= least else model.calibration_fused for scores in by_handling.values()
    )
    return replace(model, strata=strata)


def spread(values: Features) -> float:
    """Standard deviation by the interquartile range, which a few odd photographs do not widen."""
    low, high = np.percentile(values, (25, 75))
    return max(float(high - low) / 1.349, 1e-6)


def _folds(groups: NDArray[np.str_], seed: int) -> NDArray[np.intp]:
    """Fold of each row; rows of one group share a fold, and folds are about equal in size."""
    names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of_group = np.zeros(len(names), dtype=np.intp)
    load = np.zeros(FOLDS)
    for group in sorted(order, key=lambda g: -sizes[g]):
        lightest = int(load.argmin())
        fold_of_group[group] = lightest
        load[lightest] += sizes[group]
    return np.asarray(fold_of_group[members])


def _held_out(features: Features, folds: NDArray[np.intp], axes: int, components: int, seed: int) -> Features:
    """Log-likelihood of each row under a mixture fitted on the other folds, (n,)."""
    likelihood = np.zeros(len(features))
    for fold in range(FOLDS):
        mixture = fit_mixture(features[folds != fold], axes=axes, components=components, seed=seed)
        likelihood[folds == fold] = mixture.log_likelihood(features[folds == fold])
    return likelihood
