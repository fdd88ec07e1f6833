"""What the served models share: Triton's Python backend on one side, torch on the other.

Tensors come and go by DLPack: a backend built for NumPy 1 silently corrupts the arrays of NumPy 2.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.dlpack import from_dlpack

from pipeline.settings import Settings


def version_folder(args: Mapping[str, str]) -> Path:
    """Where this version's weights lie; `args` are those of `initialize`."""
    return Path(args["model_repository"]) / args["model_version"]


def placement(args: Mapping[str, str]) -> dict[str, Any]:
    """On what the networks compute, as `load_encoder` and `load_binary` take it: the instance's GPU, or the CPU.

    Both networks serve side by side, so the kernel of each has half the cores, and PyTorch one thread: its threads only
    wait for each other where cores are shared (one thread: 66 patches/s under load, two: 7 to 30).
    """
    trunk = Settings().detector.trunk
    if args["model_instance_kind"] == "GPU":
        return {"device": f"cuda:{args['model_instance_device_id']}", "trunk": trunk}
    torch.set_num_threads(1)
    return {"device": "cpu", "trunk": trunk, "threads": max(1, len(os.sched_getaffinity(0)) // 2)}


def read_patches(utils: Any, request: Any) -> npt.NDArray[np.uint8]:
    """A request's `PATCHES`, (b, n, 64, 64, 3). `utils` is `triton_python_backend_utils`."""
    tensor = utils.get_input_tensor_by_name(request, "PATCHES")
    patches: npt.NDArray[np.uint8] = from_dlpack(tensor.to_dlpack()).numpy(force=True)
    return patches


def respond(utils: Any, outputs: Mapping[str, npt.NDArray[np.float32]]) -> Any:
    """A response of these tensors."""
    return utils.InferenceResponse(
        [utils.Tensor.from_dlpack(name, torch.from_numpy(array)) for name, array in outputs.items()]
    )
