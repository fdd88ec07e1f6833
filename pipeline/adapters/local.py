"""The detector without a server: both networks in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.encoder.serve import load_binary, load_encoder
from pipeline.errors import DetectorUnavailable
from pipeline.records import DetectorOutput, ModelVersion, Patches
from pipeline.settings import TrunkKind


class LocalDetector:
    """Implements `ports.Detector` with the weights of one release folder."""

    def __init__(self, folder: Path, trunk: TrunkKind = "auto") -> None:
        """`trunk`: what computes the networks' per-patch part (`settings.detector.trunk`)."""
        self._encoder = load_encoder(folder, trunk=trunk)
        self._binary = load_binary(folder, trunk=trunk)

    def detect(self, patches: Patches, model: ModelVersion) -> DetectorOutput:  # noqa: ARG002 - one version here
        [encoded] = self._encoder.embed([patches.pixels])
        [probability] = self._binary.probability([patches.pixels])
        if not (np.isfinite(encoded.embedding).all() and np.isfinite(probability)):
            raise DetectorUnavailable("the networks answered with numbers that are not finite")
        return DetectorOutput(encoder=encoded, ai_probability=probability)
