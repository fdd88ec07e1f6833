"""Serves the SDAIE binary detector on Triton's Python backend. Beside it lie `binary.safetensors` and `binary.json`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

# The backend's stub ignores PYTHONPATH, so the interpreter has to be told where Lenswatch is installed.
sys.path.extend(filter(None, os.environ.get("LENSWATCH_SITE_PACKAGES", "").split(os.pathsep)))

import torch
from torch.utils.dlpack import from_dlpack

from pipeline.encoder.serve import load_binary


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        device = f"cuda:{args['model_instance_device_id']}" if args["model_instance_kind"] == "GPU" else "cpu"
        if device == "cpu":
            # Both networks serve side by side; threads within one only wait for each other when cores are shared
            # (one thread: 66 patches/s under load, two: 7 to 30).
            torch.set_num_threads(1)
        self.runner = load_binary(folder, device=device)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One forward pass for all requests that the dynamic batcher brought together; images may differ in patches."""
        batches = [_patches(request) for request in requests]
        probabilities = iter(self.runner.probability([image for batch in batches for image in batch]))
        return [self._response([next(probabilities) for _ in batch]) for batch in batches]

    @staticmethod
    def _response(probabilities: list[float]) -> Any:
        value = np.array(probabilities, dtype=np.float32)[:, None]  # (b, 1)
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("AI_PROBABILITY", torch.from_numpy(value))])


def _patches(request: Any) -> npt.NDArray[np.uint8]:
    """(b, n, 64, 64, 3). Tensors come and go by DLPack: a backend built for NumPy 1 corrupts the arrays of NumPy 2."""
    tensor = pb_utils.get_input_tensor_by_name(request, "PATCHES")
    patches: npt.NDArray[np.uint8] = from_dlpack(tensor.to_dlpack()).numpy(force=True)
    return patches
