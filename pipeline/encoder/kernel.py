"""The trunk on a CPU by our own kernel (trunk.c): the numbers of `network.Trunk` (about 1e-6), faster.

The package's build compiles it (pyproject.toml), so nothing is compiled when a process starts.
"""

import ctypes
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.encoder.network import (
    CHANNELS,
    PATCH,
    PIXEL_MEAN,
    PIXEL_STD,
    ResidualStem,
    Trunk,
    covariance_features,
)
from pipeline.highpass import BANK

BUILDS = {"AVX2": ("_trunk_v3",), "AVX512": ("_trunk_v4", "_trunk_v3")}
"""What runs on which kind of CPU (torch's names), best first."""

PIECE = 4
"""Patches that a thread takes at a time."""

# Winograd's F(4x4, 3x3), Lavin & Gray (CVPR 2016): a 3x3 kernel g becomes the 6x6 numbers G g G'.
_G = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]).double() / 24


class KernelTrunk:
    """A `Trunk` as it is now (later changes of its weights do not reach this). Thread-safe."""

    def __init__(self, trunk: Trunk, threads: int | None = None) -> None:
        """`threads`: None: one a core. Raises RuntimeError where the kernel was not built for this CPU."""
        library = _library()
        if library is None:
            raise RuntimeError("pipeline/encoder/trunk.c was not compiled for this CPU when the package was installed")
        self._library = library
        self._weights = _pack(trunk)
        self._pool = ThreadPoolExecutor(threads or len(os.sched_getaffinity(0)))

    @torch.inference_mode()
    def __call__(self, patches: Tensor) -> Tensor:
        """uint8 (N, 64, 64, 3) RGB -> float32 (N, 528)."""
        return covariance_features(self.maps(patches))

    def maps(self, patches: Tensor) -> Tensor:
        """uint8 (N, 64, 64, 3) RGB -> what leaves stage 5, float32 (N, 32, 8, 8)."""
        if patches.shape[1:] != (PATCH, PATCH, 3) or patches.dtype != torch.uint8:
            raise ValueError(f"expected uint8 (N, 64, 64, 3), got {patches.dtype} {tuple(patches.shape)}")
        patches, maps = patches.contiguous(), torch.empty(len(patches), 8, 8, CHANNELS)
        # ctypes lets go of the interpreter's lock, and threads that take small pieces wait for no slow one.
        list(self._pool.map(self._run, patches.split(PIECE), maps.split(PIECE)))
        return maps.permute(0, 3, 1, 2)

    def _run(self, patches: Tensor, maps: Tensor) -> None:
        scratch = torch.empty(self._library.trunk_scratch_bytes(), dtype=torch.uint8)
        pointers = (tensor.data_ptr() for tensor in (self._weights, scratch, maps))
        self._library.trunk(patches.data_ptr(), len(patches), *pointers)


@cache
def _library() -> ctypes.CDLL | None:
    """The kernel's build for this CPU, or nothing."""
    names = BUILDS.get(torch.backends.cpu.get_cpu_capability(), ())
    for path in (Path(__file__).with_name(name + suffix) for name in names for suffix in EXTENSION_SUFFIXES):
        if path.exists():
            library = ctypes.CDLL(str(path))
            library.trunk_scratch_bytes.restype = ctypes.c_long
            pointer = ctypes.c_void_p
            library.trunk.argtypes = [pointer, ctypes.c_long, pointer, pointer, pointer]
            library.trunk.restype = None
            return library
    return None


def available() -> bool:
    return _library() is not None


@torch.no_grad()
def _pack(trunk: Trunk) -> Tensor:
    """All weights one after another, in the order and the layouts in which trunk.c reads them."""
    scale = [1 / (255 * std) for std in PIXEL_STD]
    offset = [-mean / std for mean, std in zip(PIXEL_MEAN, PIXEL_STD, strict=True)]
    stem = trunk.stem
    colour = F.pad(torch.tensor(scale + offset), (0, CHANNELS - 6))  # every part a multiple of 128 bytes, so aligned
    parts: list[Tensor] = [colour, *_stem_kernels(stem)]
    parts += [stem.conv.get_parameter("bias"), *_affine(stem.norm)]
    for stage in (trunk.stage2, trunk.stage3, trunk.stage4, trunk.stage5):
        for conv, norm in zip(stage.convs, stage.norms, strict=True):
            weight = conv.get_parameter("weight").double()
            transformed = torch.einsum("ay,oiyx,bx->abio", _G, weight, _G)  # (6, 6, 32 in, 32 out)
            parts += [transformed, conv.get_parameter("bias"), *_affine(norm)]
    return torch.cat([part.float().reshape(-1) for part in parts])


def _affine(norm: nn.Module) -> Sequence[Tensor]:
    return [norm.get_parameter(name).permute(1, 2, 0) for name in ("weight", "bias")]  # (S, S, 32)


def _stem_kernels(stem: ResidualStem) -> Sequence[Tensor]:
    """Bank and convolution as one 7x7 kernel (7, 7, 3, 32); nine of them, for the first, middle, last row and column.

    At the patch's edge the plain network's second convolution sees zeros where the bank's response would lie outside:
    there its outer row or column of taps is left out of the product.
    """
    weight = stem.conv.weight.double().unflatten(1, (3, len(BANK)))  # (32, 3, 30, 3, 3)
    shifted = stem.shifted_bank.double().view(len(BANK), 3, 3, 7, 7)
    inside = ([1, 2], [0, 1, 2], [0, 1])  # taps of the second convolution that lie inside
    return [
        torch.einsum("ocfrs,frsyx->yxco", weight[:, :, :, rows][..., columns], shifted[:, rows][:, :, columns])
        for rows in inside
        for columns in inside
    ]
