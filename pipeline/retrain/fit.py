"""Fits the one-class model. The only module that needs scikit-learn.

Source: SDAIE section "one-class detection": scikit-learn's Gaussian mixture with five full-covariance components. Ours
projects on principal axes first and regularises the covariances, since the paper's 10,000 photographs are far more than
a platform's first verified ones; how many axes and components is chosen by the likelihood of held-out photographs, for
each view by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from pipeline.one_class import (
    VIEWS,
    Floats,
    Fusion,
    Growth,
    Mixture,
    OneClassModel,
    Traces,
    View,
    Views,
    beyond_one,
    weighted,
)
from pipeline.records import Handling

Features = NDArray[np.floating]

AXES = (8, 16, 32, 64, 128)
COMPONENTS = (1, 2, 5)
COVARIANCE_FLOOR = 1e-2
"""Added to the diagonal of each covariance, as a share of the mean variance along the kept axes."""

FOLDS = 4

NO_GROWTH: Mapping[str, Growth] = {}

FIRST_WEIGHTS = {"embedding": 0.5, "means": 0.25, "deviations": 0.25}
"""Of views: what the encoder says and how pixels follow from their neighbours count alike (ADR 11)."""

OF_SELF_DESCRIPTION = ("means", "deviations")
"""Views that share what is not the encoder's."""

LEAST_GROWN = 100
"""Photographs of several windows; of fewer, how their standing grows with windows is not measured."""

MOST_NARROWING = 0.9
"""Of a view's spread: what is measured between one window and two must not make that of many vanish."""

STEPS = 200
"""In which a standard deviation is looked for among photographs of several sizes."""

LEAST_CHANGE = 1e-3
"""Mean square, in squared standard deviations, below which a view counts as unchanged by handling."""

WEIGHTS = (0.2, 1.0)
"""Of a standard deviation of log-likelihood and of a nat of the binary head's log-odds in the fused score. Chosen on
left-out generator families; weights fitted on known ones say too much of the one-class model (docs/train.md)."""


@dataclass(frozen=True, slots=True)
class MixtureChoice:
    """A configuration of a view and its mean held-out log-likelihood, nats per image."""

    view: str
    axes: int
    components: int
    held_out_log_likelihood: float


@dataclass(frozen=True, slots=True)
class PhotoFeatures:
    """Features of photographs, one row each."""

    traces: Traces
    ai_probabilities: Features
    """(n,)"""
    groups: NDArray[np.str_]
    """(n,): photographs that may share a source or camera share a group; folds never part a group."""
    parts: Traces | None = None
    """Of the same photographs, row by row, one place of each alone: what growth is measured by. None: it is known."""


def fit_mixture(features: Features, *, axes: int, components: int, seed: int) -> Mixture:
    """Fit on (n, D) features; needs n > axes and D >= axes."""
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


@dataclass(frozen=True, slots=True)
class FittedViews:
    views: Views
    """Of `FIRST_WEIGHTS`."""
    held_out: Mapping[str, Floats]
    """View -> (n,): standing of each photograph by the folds without it."""
    tried: tuple[MixtureChoice, ...]

    @property
    def chosen(self) -> dict[str, MixtureChoice]:
        """View -> its configuration with the best held-out likelihood."""
        rising = sorted(self.tried, key=lambda choice: choice.held_out_log_likelihood)
        return {choice.view: choice for choice in rising}


def choose_views(photos: PhotoFeatures, known: Mapping[str, Growth] = NO_GROWTH, *, seed: int) -> FittedViews:
    """Each view in the configuration with the best held-out likelihood, refitted on all of `photos`.

    `known`: the views' growth where `photos` has no parts. Raises ValueError for too few photographs.
    """
    folds = _folds(photos.groups, seed)
    found = {name: _choose(name, photos, known.get(name, Growth()), folds, seed) for name in VIEWS}
    return FittedViews(
        views=Views(**{name: view for name, (view, _, _) in found.items()}),
        held_out={name: standings for name, (_, standings, _) in found.items()},
        tried=tuple(choice for _, _, tried in found.values() for choice in tried),
    )


def fit_views(
    traces: Traces, standard: Traces, parts: Traces, chosen: Mapping[str, MixtureChoice], *, seed: int
) -> Views:
    """Views of known configurations, standardised by photographs that are not among those fitted on, and by one place
    of each of these alone."""
    views = {}
    for name in VIEWS:
        features = getattr(traces, name)
        scale = _scale(name, features)
        axes, components = chosen[name].axes, chosen[name].components
        mixture = fit_mixture(features / scale, axes=axes, components=components, seed=seed)
        whole, part = (
            Likelihoods(mixture.log_likelihood(getattr(seen, name) / scale), seen.patch_counts)
            for seen in (standard, parts)
        )
        views[name] = _view(name, mixture, scale, whole, growth(whole, part))
    return Views(**views)


def _choose(
    name: str, photos: PhotoFeatures, known: Growth, folds: NDArray[np.intp], seed: int
) -> tuple[View, Floats, list[MixtureChoice]]:
    """The view, each row's standing by the folds without it, and every configuration tried."""
    features: Features = getattr(photos.traces, name)
    scale = _scale(name, features)
    scaled = features / scale
    smallest_fit = min(int((folds != fold).sum()) for fold in range(FOLDS))
    held_out = {
        (axes, components): _held_out(scaled, scaled, folds, axes, components, seed)
        for axes, components in product(AXES, COMPONENTS)
        if axes * components < smallest_fit / 2
    }
    if not held_out:
        raise ValueError(f"{len(features)} photographs are too few to fit a mixture on")
    axes, components = max(held_out, key=lambda configuration: held_out[configuration].mean())
    whole = Likelihoods(held_out[axes, components], photos.traces.patch_counts)
    if photos.parts is not None:
        asked = getattr(photos.parts, name) / scale
        part = Likelihoods(_held_out(scaled, asked, folds, axes, components, seed), photos.parts.patch_counts)
        known = growth(whole, part)
    view = _view(name, fit_mixture(scaled, axes=axes, components=components, seed=seed), scale, whole, known)
    tried = [MixtureChoice(name, *configuration, float(rows.mean())) for configuration, rows in held_out.items()]
    return view, view.standardised(*whole), tried


def _scale(name: str, features: Features) -> Floats:
    """(D,): the numbers of a self-description differ in kind, and all count alike; an embedding's stay as they are."""
    if name == "embedding":
        return np.ones(features.shape[1])
    return np.asarray(features.std(0, dtype=np.float64) + 1e-6)


class Likelihoods(NamedTuple):
    """Of photographs that a mixture was not fitted on."""

    nats: Floats
    """(n,)"""
    patch_counts: NDArray[np.integer]
    """(n,)"""


def growth(whole: Likelihoods, part: Likelihoods) -> Growth:
    """By photographs of which `whole` has more windows than `part`, row by row; none where they are too few."""
    grown = beyond_one(whole.patch_counts) > beyond_one(part.patch_counts)
    if grown.sum() < LEAST_GROWN:
        return Growth()
    (many, large), (few, small) = ((of.nats[grown], beyond_one(of.patch_counts[grown]).mean()) for of in (whole, part))
    slope = (spread(many) - spread(few)) / (large - small)
    narrowing = float(np.clip(-slope / max(spread(few) - slope * small, LEAST_CHANGE), 0, MOST_NARROWING))
    rise = (np.median(many) - np.median(few)) / (large - small) / (spread(few) / (1 - narrowing * small))
    return Growth(float(rise), narrowing)


def _deviation(nats: Floats, more: Floats, growth: Growth) -> float:
    """Of photographs of one window, from those of any number: the first in steps of half a per cent of the largest that
    photographs, without what more windows make of them, scatter by no more than.

    It can't be solved for, since the rise to be taken off is in this unit, too.
    """
    narrowed = 1 - growth.narrowing * more
    steps = np.linspace(0, spread(nats) / narrowed.min(), STEPS + 1)[1:]
    for step in steps:
        as_of_one = nats - step * growth.rise * more
        if spread((as_of_one - np.median(as_of_one)) / narrowed) <= step:
            return float(step)
    return float(steps[-1])


def _view(name: str, mixture: Mixture, scale: Floats, held_out: Likelihoods, growth: Growth) -> View:
    more = beyond_one(held_out.patch_counts)
    deviation = _deviation(held_out.nats, more, growth)
    median = np.median(held_out.nats - deviation * growth.rise * more)
    return View(mixture, scale, np.array([median]), np.array([deviation]), growth, np.array([FIRST_WEIGHTS[name]]))


def by_stability(views: Views, found: Traces, handled: Traces) -> Views:
    """`views`, of which the two of self-descriptions share their part by how little handling changes what they say: by
    the inverse of the mean square by which a photograph's standing changes with its history.

    As measurements of different precision are averaged; the error here is handling, which says nothing of how an image
    was formed (ADR 13). Both are of the same photographs, row by row, that neither were fitted on nor calibrate; where
    there is none, all views keep their weights. Raises ValueError for features that are not finite.
    """
    if not len(found.embedding):
        return views
    stability = {}
    for name in OF_SELF_DESCRIPTION:
        view: View = getattr(views, name)
        after, before = (view.standing(getattr(seen, name), seen.patch_counts) for seen in (handled, found))
        change = after - before
        stability[name] = 1 / max(float((change**2).mean()), LEAST_CHANGE)
    if not np.isfinite(list(stability.values())).all():
        raise ValueError("a photograph that views are weighed by has features that are not finite")
    share = sum(views.weights[name] for name in OF_SELF_DESCRIPTION) / sum(stability.values())
    return views.weighing(views.weights | {name: share * value for name, value in stability.items()})


def fit_one_class(
    fit: PhotoFeatures,
    calibration: PhotoFeatures,
    *,
    patch: Mixture,
    weigh: Callable[[Views], Views] = lambda views: views,
    weights: tuple[float, float] = WEIGHTS,
    known: Mapping[str, Growth] = NO_GROWTH,
    seed: int = 0,
) -> tuple[OneClassModel, list[dict[str, float]]]:
    """Fit on one set of photographs, calibrate on another. The caller keeps apart what the promise is to be about: a
    refit uploaders and cameras, a first fit the source or the camera of each photograph.

    `patch` is the per-patch mixture of the heat map, which a refit takes over, and so are the fusion's `weights` of
    log-likelihood and binary logit and the views' growth (`known`), as what is stored of a photograph is one mean.
    `weigh` gives the views their weights. Returns the model and the tried configurations (for the card).
    """
    fitted = choose_views(fit, known, seed=seed)
    views = weigh(fitted.views)
    fusion = standardised_fusion(weighted(fitted.held_out, views.weights), weights)
    likelihood = views.log_likelihood(calibration.traces)
    model = OneClassModel(
        image=views,
        patch=patch,
        fusion=fusion,
        calibration_log_likelihood=np.sort(likelihood),
        calibration_ai_probability=np.sort(np.asarray(calibration.ai_probabilities, dtype=np.float64)),
        calibration_fused=np.sort(fusion.fuse(likelihood, calibration.ai_probabilities)),
    )
    return model, [asdict(choice) for choice in fitted.tried]


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
    fused = model.fusion.fuse(model.image.log_likelihood(photos.traces), photos.ai_probabilities)
    by_handling = {kind: fused[[handling is kind for handling in handlings]] for kind in Handling}
    strata = tuple(
        np.sort(scores) if len(scores) >= least else model.calibration_fused for scores in by_handling.values()
    )
    return replace(model, strata=strata, versions=1)


def view_facts(views: Views) -> dict[str, dict[str, float]]:
    """For the card: view -> axes, components and weight."""
    return {
        name: {
            "axes": view.mixture.axes.shape[1],
            "components": len(view.mixture.weights),
            "weight": round(float(view.weight[0]), 4),
            "rise": round(view.growth.rise, 4),
            "narrowing": round(view.growth.narrowing, 4),
        }
        for name, view in views.by_name.items()
    }


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


def _held_out(
    features: Features, asked: Features, folds: NDArray[np.intp], axes: int, components: int, seed: int
) -> Floats:
    """Log-likelihood of each row of `asked` under a mixture fitted on the other folds' `features`, (n,)."""
    likelihood = np.zeros(len(features))
    for fold in range(FOLDS):
        mixture = fit_mixture(features[folds != fold], axes=axes, components=components, seed=seed)
        likelihood[folds == fold] = mixture.log_likelihood(asked[folds == fold])
    return likelihood
