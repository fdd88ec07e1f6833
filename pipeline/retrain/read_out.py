"""Fits the read-out of residual statistics, and how much it and the network have to say. Uses scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipeline.evaluation.conditions import STANDING
from pipeline.one_class import Fusion, Mixture, logit
from pipeline.read_out import ReadOut
from pipeline.retrain.described import Described, balance
from pipeline.retrain.fit import PhotoFeatures, choose_mixture, spread

Floats = NDArray[np.float64]

STRENGTH = 0.01
"""Inverse of the L2 penalty. Chosen on left-out generator families and camera makes (docs/train.md)."""

UNBOUNDED = 1e6
"""The same for a regression with two weights, which needs no penalty."""

LEAST_SAY = 0.1
"""Of the one-class model in the fused score, a standard deviation against a nat of the binary head. On held-out
generators of known families it adds nothing; on left-out families it does, up to 0.2 (docs/train.md)."""

SILENT = np.array([0.0, 1.0, 0.0])
"""`ReadOut.joint` that hears the statistics alone."""

EQUAL = np.ones(2)


def fit_read_out(data: Described, rows: NDArray[np.bool_]) -> ReadOut:
    """Logistic regression on the statistics of these crops, all versions; the network has no say yet.

    Needs both classes among `rows` (n,).
    """
    statistics = np.asarray(data.statistics[rows], dtype=np.float64)  # (m, versions, D)
    count, versions, _ = statistics.shape
    flat = statistics.reshape(count * versions, -1)
    mean, scale = flat.mean(0), flat.std(0) + 1e-6
    weights = balance(data.weights[rows], data.is_ai[rows])
    model = LogisticRegression(C=STRENGTH, max_iter=300)
    model.fit(
        (flat - mean) / scale,
        np.repeat(data.is_ai[rows], versions),
        sample_weight=np.repeat(weights, versions) * count / 2,
    )
    return ReadOut(mean, scale, model.coef_[0], model.intercept_, SILENT, EQUAL)


def fit_joint(data: Described, rows: NDArray[np.bool_], read_out: ReadOut) -> Floats:
    """`ReadOut.joint` from crops that neither opinion was fitted on, as found and re-encoded."""
    opinions = np.stack(
        [logit(data.network[rows]), read_out.statistics_logit(data.statistics[rows, :2])], axis=-1
    )  # (m, 2, 2)
    return fit_weights(opinions, data.is_ai[rows])


def fit_weights(opinions: Floats, is_ai: NDArray[np.bool_]) -> Floats:
    """Weights and intercept, (k + 1,), of a logistic regression on k opinions (m, versions, k); both classes alike.

    An opinion that would count against itself gets weight 0: it says nothing that the others do not.
    """
    versions, kept = opinions.shape[1], list(range(opinions.shape[2]))
    flat, labels = opinions.reshape(-1, len(kept)), np.repeat(is_ai, versions)
    weights = balance(np.ones(len(labels)), labels) * len(labels) / 2
    while True:
        model = LogisticRegression(C=UNBOUNDED, max_iter=1000).fit(flat[:, kept], labels, sample_weight=weights)
        if len(kept) == 1 or (model.coef_[0] >= 0).all():
            break
        kept.pop(int(model.coef_[0].argmin()))
    fitted = np.zeros(opinions.shape[2] + 1)
    fitted[kept], fitted[-1] = model.coef_[0], model.intercept_[0]
    return fitted


def held_out_areas(data: Described, read_out: ReadOut) -> dict[str, dict[str, float]]:
    """AUROC of network, statistics and both on held-out crops, which set only the three joint weights of `read_out`."""
    rows, is_ai = data.held_out, data.is_ai[data.held_out]
    network, statistics = data.network[rows], data.statistics[rows, :2]
    opinions = {
        "network": network,
        "statistics": read_out.statistics_logit(statistics),
        "both": read_out.probability(network, statistics),
    }
    return {
        condition: {
            name: round(float(roc_auc_score(is_ai, values[:, version])), 4) for name, values in opinions.items()
        }
        for version, condition in enumerate(STANDING)
    }


def photo_features(data: Described, rows: NDArray[np.bool_]) -> PhotoFeatures:
    """Of these crops as found, for a one-class fit."""
    return PhotoFeatures(
        embeddings=data.embeddings[rows, 0],
        ai_probabilities=data.network[rows, 0],
        groups=np.array([crop.source for crop, taken in zip(data.crops, rows, strict=True) if taken]),
    )


def fit_fusion(data: Described, rows: NDArray[np.bool_], read_out: ReadOut, image: Mixture) -> Floats:
    """`ReadOut.fusion` from crops that neither head was fitted on, as found and re-encoded.

    The log-likelihood is standardised by the photographs among them. Without both classes the least say is all that
    the one-class model gets.
    """
    if len(np.unique(data.is_ai[rows])) < 2:
        return np.array([LEAST_SAY, 1.0])
    likelihood = np.stack([image.log_likelihood(data.embeddings[rows, version]) for version in (0, 1)], axis=1)
    of_photographs = likelihood[~data.is_ai[rows], 0]
    strange = -(likelihood - np.median(of_photographs)) / spread(of_photographs)
    binary = logit(read_out.probability(data.network[rows], data.statistics[rows, :2]))
    limited = np.clip(np.stack([strange, binary], axis=-1), -Fusion.LIMIT, Fusion.LIMIT)
    likelihood_weight, binary_weight = fit_weights(limited, data.is_ai[rows])[:2]
    return np.array([max(likelihood_weight, LEAST_SAY * binary_weight), binary_weight])


def train_read_out(data: Described) -> tuple[ReadOut, dict[str, Any]]:
    """The read-out of a release, and the facts for its card.

    The weights of both opinions come from what was held out from both. The statistics are then fitted once more with
    the held-out AI images added; photographs held out stay out, for they calibrate. They have set the few weights
    (`joint`, `fusion`) all the same, so the conformal promise is exact but for these.
    """
    held_out, is_ai = data.held_out, data.is_ai
    honest = fit_read_out(data, ~held_out)
    honest = replace(honest, joint=fit_joint(data, held_out, honest))
    fusion = fit_fusion(data, held_out, honest, choose_mixture(photo_features(data, ~held_out & ~is_ai), seed=0)[0])
    final = fit_read_out(data, is_ai | ~held_out)
    card = {
        "crops": {"photographs": int((~is_ai & ~held_out).sum()), "ai": int(is_ai.sum())},
        "joint_fitted_on": {"photographs": int((~is_ai & held_out).sum()), "ai": int((is_ai & held_out).sum())},
        "held_out_auroc": held_out_areas(data, honest),
        "strength": STRENGTH,
        "weights": dict(zip(("network", "statistics", "intercept"), honest.joint.tolist(), strict=True)),
        "fusion": dict(zip(("log_likelihood", "ai_logit"), fusion.tolist(), strict=True)),
    }
    return replace(final, joint=honest.joint, fusion=fusion), card
