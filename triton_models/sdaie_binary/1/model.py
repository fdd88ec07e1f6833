"""Serves the SDAIE binary detector on Triton's Python backend. Beside it lie `binary.safetensors` and `binary.json`.

A version is its weights and this file: what changes in how weights are used is to be told here, so that it becomes
another version, and Triton loads it anew. Read-outs are means over windows of sixteen patches (ADR 16).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

# The backend's stub ignores PYTHONPATH, so the interpreter has to be told where Lenswatch is installed.
sys.path.extend(filter(None, os.environ.get("LENSWATCH_SITE_PACKAGES", "").split(os.pathsep)))

from pipeline.encoder.backend import placement, read_patches, respond, version_folder
from pipeline.encoder.serve import load_binary


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self.runner = load_binary(version_folder(args), **placement(args))

    def execute(self, requests: list[Any]) -> list[Any]:
        """One forward pass for all requests that the dynamic batcher brought together; images may differ in patches."""
        batches = [read_patches(pb_utils, request) for request in requests]
        probabilities = iter(self.runner.probability([image for batch in batches for image in batch]))
        return [
            respond(pb_utils, {"AI_PROBABILITY": np.array([[next(probabilities)] for _ in batch], dtype=np.float32)})
            for batch in batches
        ]
