"""The binary head's second opinion, a linear read-out of residual statistics, and what they say of an image's handling.

The network of SDAIE section 6 learns its features from few labelled images; rich-model statistics (`cooccurrence.py`)
need no learning but for these weights, and hold on generators and cameras that nothing was trained on (docs/train.md).
`retrain/read_out.py` fits it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from pipeline.one_class import logit
from pipeline.records import ExifPrediction, Handling, Score

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReadOut:
    """Linear models of standardised statistics, and the logistic regression that joins both opinions."""

    mean: Floats
    """(D,)"""
    scale: Floats
    """(D,)"""
    weights: Floats
    """(D,)"""
    bias: Floats
    """(1,)"""
    joint: Floats
    """(3,): weight of the network's logit, weight of the statistics' logit, intercept. The network's weight is not
    negative."""
    handling: Floats
    """(D + 1, 3): weights and, last, intercepts of each `Handling`."""

    def statistics_logit(self, statistics: NDArray[np.floating]) -> Floats:
        """(..., D) -> (...): log-odds of AI by the statistics alone."""
        return np.asarray(self._standardised(statistics) @ self.weights + self.bias[0])

    def handling_probabilities(self, statistics: NDArray[np.floating]) -> Floats:
        """(..., D) -> (..., 3): of each `Handling`."""
        logits = self._standardised(statistics) @ self.handling[:-1] + self.handling[-1]
        return np.asarray(softmax(logits, axis=-1))

    def _standardised(self, statistics: NDArray[np.floating]) -> Floats:
        return np.asarray((np.asarray(statistics, dtype=np.float64) - self.mean) / self.scale)

    def probability(self, network_probability: NDArray[np.floating], statistics: NDArray[np.floating]) -> Floats:
        """Probability of AI by both: (...) and (..., D) -> (...), in [0, 1]."""
        network, statistical, intercept = self.joint
        logits = network * logit(network_probability) + statistical * self.statistics_logit(statistics) + intercept
        return np.asarray(expit(logits))

    def to_bytes(self) -> bytes:
        """As an `.npz` archive (no pickled objects)."""
        buffer = io.BytesIO()
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> ReadOut:
        """Inverse of `to_bytes`. Raises ValueError for an archive that holds pickled objects or lacks an array."""
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            missing = {field.name for field in fields(cls)} - set(archive.files)
            if missing:
                raise ValueError(f"read-out archive lacks {sorted(missing)}")
            return cls(**{field.name: archive[field.name] for field in fields(cls)})


HANDLING = "Handling"
"""Stands among the EXIF predictions: one more thing that pixels say, about which no header claims anything."""


def tell_handling(probabilities: NDArray[np.float64]) -> ExifPrediction:
    """`probabilities` of each `Handling`, (3,)."""
    told = Handling(int(probabilities.argmax()))
    return ExifPrediction(HANDLING, told.name.lower(), float(probabilities[told]), None, None)


def handling_told(predictions: Iterable[ExifPrediction]) -> Handling | None:
    """Inverse of `tell_handling`; None where it was not told, as in scores of older releases."""
    return next((Handling[said.predicted.upper()] for said in predictions if said.tag == HANDLING), None)


def is_soft(score: Score) -> bool:
    """Whether the finest detail, and with it what speaks for a camera, is gone."""
    return handling_told(score.exif_predictions) is Handling.SOFT
