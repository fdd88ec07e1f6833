"""The binary head's second opinion: a linear read-out of residual statistics, and how it joins the network's.

The network of SDAIE section 6 learns its features from few labelled images; rich-model statistics (`cooccurrence.py`)
need no learning but for these weights, and hold on generators and cameras that nothing was trained on (docs/train.md).
`retrain/read_out.py` fits it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pipeline.one_class import logit

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReadOut:
    """Logistic regression on standardised statistics, and the logistic regression that joins both opinions."""

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
    fusion: Floats
    """(2,): weights of the standardised log-likelihood and of the binary head's logit in the fused score."""

    def statistics_logit(self, statistics: NDArray[np.floating]) -> Floats:
        """(..., D) -> (...): log-odds of AI by the statistics alone."""
        standardised = (np.asarray(statistics, dtype=np.float64) - self.mean) / self.scale
        return np.asarray(standardised @ self.weights + self.bias[0])

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
