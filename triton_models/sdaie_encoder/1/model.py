"""Serves the SDAIE encoder on Triton's Python backend. Beside it lie `encoder.safetensors` and `encoder.json`.

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
from pipeline.encoder.serve import load_encoder


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self.runner = load_encoder(version_folder(args), **placement(args))

    def execute(self, requests: list[Any]) -> list[Any]:
        """One forward pass for all requests that the dynamic batcher brought together; images may differ in patches."""
        batches = [read_patches(pb_utils, request) for request in requests]
        outputs = iter(self.runner.embed([image for batch in batches for image in batch]))
        return [self._response([next(outputs) for _ in batch]) for batch in batches]

    @staticmethod
    def _response(images: list[Any]) -> Any:
        return respond(
            pb_utils,
            {
                "EMBEDDING": np.stack([image.embedding for image in images]),  # (b, 528)
                "PATCH_FEATURES": np.stack([image.patch_features for image in images]),  # (b, n, 528)
                "EXIF": np.stack([image.exif for image in images]),  # (b, K)
            },
        )
