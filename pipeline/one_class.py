"""The one-class detector: Gaussian mixtures on features of photographs, and conformal p-values. NumPy only.

Source: SDAIE (Zhong et al., TPAMI 2026), "one-class detection". It differs from the paper where the paper is weak: the
threshold does not come from the fitting data but from split-conformal ranks on photographs that were not fitted on
(Vovk et al. 2005; Lei et al. 2018), parameters are plain arrays instead of a pickle, and mixtures on features that
nobody had to learn go with the encoder's (ADR 11, 13). `retrain/fit.py` makes these arrays; nothing here needs
scikit-learn.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from pipeline.records import Interval
from pipeline.self_description import DIMENSIONS as ONE_SCALE
from pipeline.windows import TOGETHER

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Gaussian mixture on the leading principal axes, one isotropic Gaussian on all the others.

    The second part is the residual of probabilistic PCA (Tipping & Bishop 1999): without it, an image that differs from
    photographs only outside the kept axes would look perfectly likely.
    """

    mean: Floats
    """(D,)"""
    axes: Floats
    """(D, d): orthonormal columns."""
    residual_variance: Floats
    """(1,): mean variance along the D - d axes that were left out."""
    weights: Floats
    """(k,)"""
    means: Floats
    """(k, d)"""
    precision_cholesky: Floats
    """(k, d, d): P with P P^T = inverse covariance."""

    def log_likelihood(self, features: NDArray[np.floating]) -> Floats:
        """Natural-log density of each row of (n, D); (n,)."""
        centred = np.asarray(features, dtype=np.float64) - self.mean
        kept = centred @ self.axes  # (n, d)
        left_out = np.maximum((centred**2).sum(1) - (kept**2).sum(1), 0.0)
        return self._mixture(kept) + self._residual(left_out)

    def _mixture(self, kept: Floats) -> Floats:
        d = kept.shape[1]
        # (n, k, d): each row whitened by each component
        whitened = np.einsum("nd,kde->nke", kept, self.precision_cholesky) - np.einsum(
            "kd,kde->ke", self.means, self.precision_cholesky
        )
        log_det = np.log(np.diagonal(self.precision_cholesky, axis1=1, axis2=2)).sum(1)  # (k,)
        per_component = -0.5 * (d * np.log(2 * np.pi) + (whitened**2).sum(2)) + log_det + np.log(self.weights)
        top = per_component.max(axis=1, keepdims=True)
        return np.asarray(top[:, 0] + np.log(np.exp(per_component - top).sum(axis=1)))

    def _residual(self, squared_distance: Floats) -> Floats:
        axes_left_out = self.axes.shape[0] - self.axes.shape[1]
        if axes_left_out == 0:
            return np.zeros_like(squared_distance)
        variance = self.residual_variance[0]
        return np.asarray(-0.5 * (axes_left_out * np.log(2 * np.pi * variance) + squared_distance / variance))


@dataclass(frozen=True, slots=True)
class Traces:
    """What the formation of n images left in them, seen in three ways; each a mean over an image's windows."""

    embedding: NDArray[np.floating]
    """(n, 528): the encoder's read-outs."""
    means: NDArray[np.floating]
    """(n, 144): of self-descriptions, over an image's patches."""
    deviations: NDArray[np.floating]
    """(n, 144): of the same."""
    patch_counts: NDArray[np.integer]
    """(n,): patches of each image; of the more windows a mean is, the less it scatters."""

    @classmethod
    def of(
        cls,
        embedding: NDArray[np.floating],
        self_description: NDArray[np.floating],
        patch_counts: NDArray[np.integer],
    ) -> Traces:
        """From (n, 528), (n, 288), of which each scale has means, then deviations (`statistics.self_described`), and
        (n,)."""
        by_scale = self_description.reshape(len(self_description), -1, 2, ONE_SCALE // 2)
        means, deviations = (by_scale[:, :, part].reshape(len(by_scale), -1) for part in (0, 1))
        return cls(embedding, means, deviations, patch_counts)

    @classmethod
    def stacked(cls, parts: Sequence[Traces]) -> Traces:
        """One after another."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True, slots=True)
class Growth:
    """How photographs' log-likelihood changes with the number n of their windows, by `beyond_one`: for one Gaussian its
    mean is linear in 1/n, as the variance of a mean over n is (ADR 16)."""

    rise: float = 0.0
    """Of the median, in standard deviations of photographs of one window, towards endlessly many."""
    narrowing: float = 0.0
    """Share of the standard deviation that is gone then, [0, 1)."""


def beyond_one(patch_counts: NDArray[np.integer]) -> Floats:
    """1 - 1/n of n windows' worth of patches: 0 for one window or less, towards 1 for many. What two windows share
    counts once."""
    return np.asarray(1 - TOGETHER / np.maximum(patch_counts, TOGETHER))


@dataclass(frozen=True, slots=True)
class View:
    """A mixture on one kind of trace. What it says is in a unit that all views share, so that it can be added up."""

    mixture: Mixture
    """On features divided by `scale`."""
    scale: Floats
    """(D,)"""
    median: Floats
    """(1,): log-likelihood of photographs of one window that the mixture was not fitted on, nats."""
    spread: Floats
    """(1,): its standard deviation."""
    growth: Growth
    """What more windows make of both."""
    weight: Floats
    """(1,): how much its standing counts; of all views together 1."""

    def log_density(self, features: NDArray[np.floating]) -> Floats:
        """(n, D) -> (n,), nats: of the features as they are, so that views of different scales can be compared."""
        return self.mixture.log_likelihood(np.asarray(features) / self.scale) - float(np.log(self.scale).sum())

    def standing(self, features: NDArray[np.floating], patch_counts: NDArray[np.integer]) -> Floats:
        """(n, D) and (n,) -> (n,): standard deviations above the median photograph of as many patches, at most `LIMIT`
        away from it."""
        likelihood = self.mixture.log_likelihood(np.asarray(features, dtype=np.float64) / self.scale)
        return self.standardised(likelihood, patch_counts)

    def standardised(self, log_likelihood: Floats, patch_counts: NDArray[np.integer]) -> Floats:
        """Nats -> standing, (n,)."""
        more = beyond_one(patch_counts)
        above = (log_likelihood - self.median) / self.spread - self.growth.rise * more
        return np.asarray(np.clip(above / (1 - self.growth.narrowing * more), -LIMIT, LIMIT))


@dataclass(frozen=True, slots=True)
class Views:
    """The mixtures of a one-class model, one for each of `Traces`."""

    embedding: View
    means: View
    deviations: View

    def log_likelihood(self, traces: Traces) -> Floats:
        """(n,): the weighted mean of the views' standings. 0 is a median photograph, low is unlike any photograph.

        Up to a constant it is the logarithm of a product of densities, each tempered by its spread and its weight, so
        that none silences the others (Hinton 2002, products of experts).
        """
        standings = {
            name: view.standing(getattr(traces, name), traces.patch_counts) for name, view in self.by_name.items()
        }
        return weighted(standings, self.weights)

    def log_density(self, traces: Traces) -> Floats:
        """(n,), nats: how well the mixtures describe the images, where `log_likelihood` says how one stands among
        others by the same model."""
        return np.asarray(
            np.sum([view.log_density(getattr(traces, name)) for name, view in self.by_name.items()], axis=0)
        )

    @property
    def by_name(self) -> dict[str, View]:
        return {name: getattr(self, name) for name in VIEWS}

    @property
    def weights(self) -> dict[str, float]:
        return {name: float(view.weight[0]) for name, view in self.by_name.items()}

    def weighing(self, weights: Mapping[str, float]) -> Views:
        """The same with other weights, made to sum to 1."""
        total = sum(weights.values())
        return Views(
            **{name: replace(view, weight=np.array([weights[name] / total])) for name, view in self.by_name.items()}
        )


VIEWS = tuple(field.name for field in fields(Views))


def weighted(standings: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """Each view's (n,) -> (n,)."""
    return np.asarray(np.sum([weights[name] * standing for name, standing in standings.items()], axis=0))


@dataclass(frozen=True, slots=True)
class Fusion:
    """One number from both heads: a weighted sum, higher = more like a photograph.

    It is fixed before calibration, as the conformal promise asks: nothing of it comes from photographs that calibrate.
    """

    log_likelihood_location: float
    log_likelihood_scale: float
    log_likelihood_weight: float
    ai_logit_weight: float

    @property
    def weights(self) -> tuple[float, float]:
        """Of the standardised log-likelihood and of the binary logit."""
        return self.log_likelihood_weight, self.ai_logit_weight

    def fuse(self, log_likelihood: NDArray[np.floating], ai_probability: NDArray[np.floating]) -> Floats:
        likelihood = (np.asarray(log_likelihood) - self.log_likelihood_location) / self.log_likelihood_scale
        ai = logit(ai_probability)
        clip = (-LIMIT, LIMIT)
        return np.asarray(
            self.log_likelihood_weight * np.clip(likelihood, *clip) - self.ai_logit_weight * np.clip(ai, *clip)
        )


def whole(places: float) -> int:
    """The whole number of places that a rate times a count is: 0.29 x 100 is less than 29 in binary."""
    return math.floor(round(places, 9))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Scores of photographs, of each equally many draws from the versions of it that could have come in.

    Hierarchical conformal prediction (Lee, Barber & Willett, "Distribution-free inference with hierarchical data",
    2023): a photograph weighs 1, which its versions share. With one of each it is split-conformal prediction. An image
    that is asked about is taken for a version of one more photograph of the same kind.
    """

    scores: Floats
    """(photographs x versions,), ascending."""
    versions: int = 1

    @property
    def photographs(self) -> int:
        return len(self.scores) // self.versions

    def p_value(self, value: float) -> float:
        """(1 + photographs that score at most `value`) / (1 + photographs), each counted by the share of its versions:
        at most alpha of such photographs get a p-value <= alpha, and fewer the more versions of one differ."""
        at_most = int(np.searchsorted(self.scores, value, side="right"))
        return (self.versions + at_most) / (self.versions + len(self.scores))

    def threshold(self, rate: float) -> float | None:
        """The score below which `p_value` is at most `rate`; None where none is so low."""
        rank = whole(rate * (len(self.scores) + self.versions)) - self.versions
        return float(self.scores[rank]) if 0 <= rank < len(self.scores) else None


@dataclass(frozen=True, slots=True)
class OneClassModel:
    """Everything that is fitted: the mixtures, the fusion, and the calibration photographs' scores."""

    image: Views
    patch: Mixture
    """On per-patch features, for the heat map."""
    fusion: Fusion
    calibration_log_likelihood: Floats
    """(n,), ascending. Photographs that were not fitted on."""
    calibration_ai_probability: Floats
    """(n,), ascending."""
    calibration_fused: Floats
    """(n,), ascending."""
    strata: tuple[Floats, ...] = ()
    """Fused scores, ascending, of calibration photographs by their `Handling` (Mondrian conformal prediction, ADR 8).
    Empty: none is known, and `calibration_fused` answers for all."""
    versions: int = 1
    """Draws from each photograph's versions in a stratum."""

    def alike(self, stratum: int | None) -> Calibration:
        """What answers for images handled so: photographs handled alike; all, where it is not known how (None)."""
        if not self.strata or stratum is None:
            return Calibration(self.calibration_fused)
        return Calibration(self.strata[stratum], self.versions)

    @property
    def photographs_alike(self) -> tuple[int, ...]:
        """Of each stratum; () where there is none."""
        return tuple(self.alike(stratum).photographs for stratum in range(len(self.strata)))

    @property
    def smallest_calibration(self) -> int:
        """Photographs that the least known stratum's promise comes from."""
        return min(self.photographs_alike or (len(self.calibration_fused),))

    def p_value(self, fused: float, stratum: int | None) -> float:
        """Conformal, among photographs that were handled alike; among all, where it is not known how (None)."""
        return self.alike(stratum).p_value(fused)

    def to_bytes(self) -> bytes:
        """The model as an `.npz` archive (no pickled objects): the fields' arrays by name, a mixture's with its field's
        name before them, a view's `growth` as two numbers, `fusion` as four, `versions` as one, and `stratum_0` ...
        where there are strata."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **self._arrays())
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> OneClassModel:
        """Inverse of `to_bytes`. Raises ValueError for an archive that holds pickled objects or lacks an array."""
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        missing = _ARRAY_NAMES - arrays.keys()
        if missing:
            raise ValueError(f"one-class archive lacks {sorted(missing)}: it is not of format {FORMAT}")
        return cls(
            image=Views(**{name: _view(arrays, name) for name in VIEWS}),
            patch=_mixture(arrays, "patch"),
            fusion=Fusion(*(float(value) for value in arrays["fusion"])),
            **{name: arrays[name] for name in _CALIBRATION},
            strata=tuple(arrays[name] for name in sorted(arrays) if name.startswith(_STRATUM)),
            versions=int(arrays["versions"][0]),
        )

    def _arrays(self) -> dict[str, Floats]:
        arrays = _named("patch", self.patch, _MIXTURE)
        for name, view in self.image.by_name.items():
            arrays |= _named(name, view.mixture, _MIXTURE) | _named(name, view, _STANDARD)
            arrays[f"{name}_{_GROWTH}"] = np.array(astuple(view.growth))
        arrays["fusion"] = np.array([getattr(self.fusion, field.name) for field in fields(Fusion)])
        arrays["versions"] = np.array([self.versions])
        arrays |= {f"{_STRATUM}{number}": scores for number, scores in enumerate(self.strata)}
        return arrays | {name: getattr(self, name) for name in _CALIBRATION}


LIMIT = 8.0
"""Standard deviations, or nats of log-odds, beyond which a view or a head says no more: an outlier of one must not
silence the others."""

FORMAT = 5
"""Of `one_class.npz`: since 2 with strata, since 3 with self-descriptions, since 4 with their deviations apart, views'
weights, and several versions of a photograph in a stratum, since 5 with views' growth (what was `location` is `median`,
so that older code refuses it)."""

_STRATUM = "stratum_"
_MIXTURE = tuple(field.name for field in fields(Mixture))
_STANDARD = ("scale", "median", "spread", "weight")
_GROWTH = "growth"
_CALIBRATION = ("calibration_log_likelihood", "calibration_ai_probability", "calibration_fused")
_ARRAY_NAMES = (
    {f"{part}_{name}" for part in ("patch", *VIEWS) for name in _MIXTURE}
    | {f"{view}_{name}" for view in VIEWS for name in (*_STANDARD, _GROWTH)}
    | {"fusion", "versions"}
    | set(_CALIBRATION)
)


def _named(part: str, of: Mixture | View, names: Sequence[str]) -> dict[str, Floats]:
    return {f"{part}_{name}": getattr(of, name) for name in names}


def _mixture(arrays: Mapping[str, Floats], part: str) -> Mixture:
    return Mixture(**{name: arrays[f"{part}_{name}"] for name in _MIXTURE})


def _view(arrays: Mapping[str, Floats], name: str) -> View:
    growth = Growth(*(float(value) for value in arrays[f"{name}_{_GROWTH}"]))
    return View(_mixture(arrays, name), growth=growth, **{part: arrays[f"{name}_{part}"] for part in _STANDARD})


def logit(probability: NDArray[np.floating]) -> Floats:
    """ln(p / (1 - p)), with p kept 1e-6 away from 0 and 1."""
    p = np.clip(np.asarray(probability, dtype=np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p) - np.log1p(-p))


def percentile(calibration: Floats, value: float) -> tuple[float, Interval]:
    """Where `value` falls among the calibration scores, 0-100, with its 95 % Clopper-Pearson interval."""
    n = len(calibration)
    below = int(np.searchsorted(calibration, value, side="right"))
    interval = clopper_pearson(below, n)
    return 100 * below / n, Interval(100 * interval.low, 100 * interval.high)


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Exact binomial confidence interval of a share (Clopper & Pearson 1934)."""
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return Interval(low, high)
