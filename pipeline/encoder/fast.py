"""How the served trunk is computed: the one place that chooses, by what the machine has.

| trunk | where | numbers |
|---|---|---|
| `kernel` | x86 CPU with AVX2 or AVX-512 | fp32, the plain network's within 1e-6: scores are the same with either |
| `half` | GPU | stem in fp32, stages 2-5 in fp16, within about 1e-3 |
| `eager` | anywhere | fp32, PyTorch |
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.encoder import kernel
from pipeline.encoder.kernel import KernelTrunk
from pipeline.encoder.network import Trunk, covariance_features, normalise
from pipeline.settings import TrunkKind

PatchFeatures = Callable[[Tensor], Tensor]
"""uint8 (N, 64, 64, 3) RGB on the trunk's device -> float32 (N, 528)."""

CHUNK = {"cpu": 8, "cuda": 1024}
"""Patches through PyTorch's trunk at a time. On a CPU the maps of a few patches stay in its cache: 5.1 ms of one core a
patch with 8, 6.6 ms with 64."""


def fast_trunk(
    trunk: Trunk, device: torch.device, kind: TrunkKind = "auto", threads: int | None = None
) -> PatchFeatures:
    """The trunk, which lies on `device`, in the form asked for. Its weights must not change any more.

    `threads`: of the kernel; None: one a core. Raises RuntimeError where the machine can't do `kind`.
    """
    kind = choose(device, kind)
    if kind == "kernel":
        if device.type != "cpu":
            raise RuntimeError(f"the compiled trunk runs on a CPU, not on {device}")
        return KernelTrunk(trunk, threads)
    form = trunk if kind == "eager" else HalfTrunk(trunk)
    return lambda patches: torch.cat([form(chunk) for chunk in patches.split(CHUNK[device.type])])


def choose(device: torch.device, kind: TrunkKind) -> TrunkKind:
    """What `auto` means on this device; any other kind is itself."""
    if kind != "auto":
        return kind
    return "half" if device.type == "cuda" else "kernel" if kernel.available() else "eager"


class HalfTrunk:
    """Stages 2-5 in half precision: maps are normalised after each convolution, so fp16 has range enough.

    The stem stays in fp32: a grey level is 1/69 of a normalised pixel's unit, and its residuals are what the network
    looks at; half precision (and TF32) would round a part of them away.
    """

    def __init__(self, trunk: Trunk, dtype: torch.dtype = torch.float16) -> None:
        self._trunk, self._dtype = trunk, dtype

    def __call__(self, patches: Tensor) -> Tensor:
        """uint8 (N, 64, 64, 3) -> float32 (N, 528)."""
        trunk = self._trunk
        with torch.backends.cudnn.flags(allow_tf32=False):
            maps = trunk.stem(normalise(patches), folded=True)  # (N, 32, 64, 64)
        with torch.autocast(patches.device.type, self._dtype):
            for stage in (trunk.stage2, trunk.stage3, trunk.stage4, trunk.stage5):
                maps = stage(maps)
        return covariance_features(maps)
