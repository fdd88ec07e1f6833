"""Fits the read-out of residual statistics, and how much it and the network have to say. Uses scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from pipeline.evaluation.conditions import STANDING
from pipeline.one_class import logit
from pipeline.read_out import ReadOut
from pipeline.records import Handling
from pipeline.retrain.described import HISTORIES, Described, balance

Floats = NDArray[np.float64]

FORMAT = 5
"""Of `read_out.npz`: since 2 with `handling`, 3 with self-descriptions, 4 at two scales, 5 with periods."""

PENALTY = 0.1
"""L2, in variances of a standardised statistic. Chosen on left-out generator families and phones (docs/train.md)."""

HANDLING_STRENGTH = 0.003
"""Inverse of the L2 penalty of the logistic regression that tells how an image was handled."""

VERSION_WEIGHTS = np.array([1.0] * len(STANDING) + [1 / HISTORIES] * HISTORIES)
"""All random histories together weigh as much as the image as found, or re-encoded (docs/train.md)."""

UNBOUNDED = 1e6
"""The same for a regression with one or two weights, which needs no penalty."""

SILENT = np.array([0.0, 1.0, 0.0])
"""`ReadOut.joint` that hears the statistics alone."""


def fit_read_out(data: Described, rows: NDArray[np.bool_]) -> ReadOut:
    """Linear discriminant on the statistics of these crops, all versions; the network has no say yet, and how an image
    was handled is not told.

    The discriminant is a ridge regression on the class, which steganalysis found to do as well on rich models as
    anything (Cogranne et al., *Is Ensemble Classifier Needed for Steganalysis in High-Dimensional Feature Spaces?*,
    WIFS 2015); a logistic regression turns it into log-odds. Needs both classes among `rows` (n,).
    """
    statistics = np.asarray(data.statistics[rows], dtype=np.float64)  # (m, versions, D)
    count, versions, dimensions = statistics.shape
    flat = statistics.reshape(count * versions, dimensions)
    mean, scale = flat.mean(0), flat.std(0) + 1e-6
    standardised, labels = (flat - mean) / scale, np.repeat(data.is_ai[rows], versions)
    weights = np.outer(balance(data.weights[rows], data.is_ai[rows]), VERSION_WEIGHTS[:versions]).ravel()
    weights /= weights.sum()
    ridge = Ridge(alpha=PENALTY).fit(standardised, labels, sample_weight=weights)
    leaning = ridge.predict(standardised)[:, None]
    odds = LogisticRegression(C=UNBOUNDED).fit(leaning, labels, sample_weight=weights * len(weights))
    slope = odds.coef_[0, 0]
    untold = np.zeros((dimensions + 1, len(Handling)))
    untold[-1, Handling.AS_MADE] = 1
    bias = slope * ridge.intercept_ + odds.intercept_
    return ReadOut(mean, scale, slope * ridge.coef_, bias, SILENT, untold)


def fit_handling(data: Described, rows: NDArray[np.bool_], read_out: ReadOut) -> Floats:
    """`ReadOut.handling` from the histories that these photographs were given; every kind weighs alike.

    From photographs alone: nobody knows what befell a generated image before it was found.
    """
    rows = rows & ~data.is_ai
    statistics, kinds = data.statistics[rows], data.handling[rows].ravel()
    standardised = ((statistics - read_out.mean) / read_out.scale).reshape(len(kinds), -1)
    model = LogisticRegression(C=HANDLING_STRENGTH, max_iter=300, class_weight="balanced").fit(standardised, kinds)
    fitted = np.zeros((standardised.shape[1] + 1, len(Handling)))
    fitted[:-1, model.classes_], fitted[-1, model.classes_] = model.coef_.T, model.intercept_
    return fitted


def fit_joint(data: Described, rows: NDArray[np.bool_], read_out: ReadOut) -> Floats:
    """`ReadOut.joint` from crops that neither opinion was fitted on and that the networks saw after all histories."""
    opinions = np.stack(
        [logit(data.network[rows]), read_out.statistics_logit(data.statistics[rows])], axis=-1
    )  # (m, versions, 2)
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
    """AUROC of network, statistics and both on photographs that calibrate, which set nothing of `read_out`, and on
    held-out AI images, which set only its three joint weights."""
    rows = data.held_out & (data.is_ai | ~data.weighs)
    is_ai = data.is_ai[rows]
    network, statistics = data.network[rows, :2], data.statistics[rows, :2]
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


def train_read_out(data: Described) -> tuple[ReadOut, dict[str, Any]]:
    """The read-out of a release, and the facts for its card.

    The weights of both opinions come from what was held out from them and does not calibrate. The statistics are then
    fitted once more with the held-out AI images added; all photographs held out stay out.
    """
    held_out, weighs, is_ai = data.held_out, data.weighs, data.is_ai
    honest = fit_read_out(data, ~held_out)
    honest = replace(honest, joint=fit_joint(data, weighs, honest))
    final = fit_read_out(data, is_ai | ~held_out)
    final = replace(final, joint=honest.joint, handling=fit_handling(data, ~held_out, final))
    card = {
        "format": FORMAT,
        "crops": {"photographs": int((~is_ai & ~held_out).sum()), "ai": int(is_ai.sum())},
        "weighed_on": {"photographs": int((~is_ai & weighs).sum()), "ai": int((is_ai & weighs).sum())},
        "held_out_auroc": held_out_areas(data, honest),
        "penalty": PENALTY,
        "weights": dict(zip(("network", "statistics", "intercept"), honest.joint.tolist(), strict=True)),
        "called": handling_shares(data, final),
    }
    return final, card


def handling_shares(data: Described, read_out: ReadOut) -> dict[str, dict[str, float]]:
    """Of held-out photographs of each `Handling`, the share that is called each."""
    rows = data.held_out & ~data.is_ai
    kinds = data.handling[rows].ravel()
    called = read_out.handling_probabilities(data.statistics[rows]).argmax(-1).ravel()
    return {
        kind.name.lower(): {
            as_.name.lower(): round(float((called[kinds == kind] == as_).mean()), 3) for as_ in Handling
        }
        for kind in Handling
        if (kinds == kind).any()
    }
