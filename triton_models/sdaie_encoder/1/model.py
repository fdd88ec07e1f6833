"""Serves the SDAIE encoder on Triton's Python backend. Beside it lie `encoder.safetensors` and `encoder.json`."""

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

from pipeline.encoder.serve import load_encoder


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        device = f"cuda:{args['model_instance_device_id']}" if args["model_instance_kind"] == "GPU" else "cpu"
        if device == "cpu":
            # Both networks serve side by side; threads within one only wait for each other when cores are shared
            # (one thread: 66 patches/s under load, two: 7 to 30).
            torch.set_num_threads(1)
        self.runner = load_encoder(folder, device=device)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One forward pass for all requests that the dynamic batcher brought together; images may differ in patches."""
        batches = [_patches(request) for request in requests]
        outputs = iter(self.runner.embed([image for batch in batches for image in batch]))
        return [self._response([next(outputs) for _ in batch]) for batch in batches]

    @staticmethod
    def _response(images: list[Any]) -> Any:
        tensors = {
            "EMBEDDING": _stack([image.embedding for image in images]),  # (b, 528)
            "PATCH_FEATURES": _stack([image.patch_features for image in images]),  # (b, n, 528)
            "EXIF": _stack([image.exif for image in images]),  # (b, K)
        }
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(*tensor) for tensor in tensors.items()])


def _stack(arrays: list[npt.NDArray[np.float32]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays))


def _patches(request: Any) -> npt.NDArray[np.uint8]:
    """(b, n, 64, 64, 3). Tensors come and go by DLPack: a backend built for NumPy 1 corrupts the arrays of NumPy 2."""
    tensor = pb_utils.get_input_tensor_by_name(request, "PATCHES")
    patches: npt.NDArray[np.uint8] = from_dlpack(tensor.to_dlpack()).numpy(force=True)
    return patches
