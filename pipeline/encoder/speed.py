"""Patches per second of the network's forms and of the served path, beside the machine's own limit, in one run."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.encoder import kernel
from pipeline.encoder.export import load_exported_encoder
from pipeline.encoder.fast import HalfTrunk, fast_trunk
from pipeline.encoder.network import CHANNELS, PATCH, SdaieEncoder
from pipeline.encoder.place import has_bf16
from pipeline.encoder.serve import SdaieRunner

MATRIX = 1024
"""Side of the matrices whose product is the machine's limit."""

Result = TypeVar("Result")
Form = Callable[[Tensor], Tensor]
"""uint8 patches (N, 64, 64, 3) -> features (N, 528)."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians over rounds that took turns, so that other work on the machine slows all alike."""

    device: str
    threads: int
    patches: int
    """In a call."""
    patches_per_second: dict[str, float]
    """By the clock on the wall, or with one thread by its own. `plain`: the network as the paper has it, all patches at
    once. `served`: images in, records out, transformer and heads included. The others are the trunk alone."""
    feature_error: dict[str, float]
    """Relative to `plain`: norm of the difference over the norm."""
    served_over_plain: float
    """Median of the rounds' ratios."""
    matmul_gflops: dict[str, float]
    """Of a product of 1024 x 1024 matrices, by type."""
    direct_mflop_per_patch: float
    """Of the folded network's convolutions in their direct form. The kernel's form, Winograd's, needs a third of it."""
    served_gflops: float
    """In the direct form's count."""
    served_over_matmul: float
    """Of the fp32 limit, in the direct form's count: it may pass 1, for Winograd's form does the same with fewer."""


def direct_flop() -> int:
    """Multiplications and additions of the folded trunk's convolutions for one patch."""
    stem = PATCH**2 * CHANNELS * 3 * 7**2
    stages = sum(depth * side**2 * CHANNELS**2 * 9 for depth, side in ((4, 64), (2, 32), (2, 16), (2, 8)))
    return 2 * (stem + stages)


@torch.inference_mode()
def measure_speed(
    release: Path, *, patches: int = 64, rounds: int = 5, threads: int = 1, others: Mapping[str, Form] | None = None
) -> Speed:
    """Time the encoder of a release. `others`: further forms of its trunk, to be compared in the same run.

    `threads`: of a CPU; PyTorch's forms have them as well as the kernel.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder, heads, tags = load_exported_encoder(release)
    encoder = encoder.to(device)
    runner = SdaieRunner(encoder, heads, tags, device, threads=threads)
    batch = torch.randint(0, 256, (patches, PATCH, PATCH, 3), generator=torch.manual_seed(0), dtype=torch.uint8)
    forms = {**trunk_forms(encoder, device, threads), **(others or {})}
    on_device = batch.to(device)
    expected = forms["plain"](on_device)  # also warms up
    error = {name: _relative(form(on_device), expected) for name, form in forms.items() if name != "plain"}
    image = batch.numpy()
    calls: dict[str, Callable[[], object]] = {name: _computing(form, on_device) for name, form in forms.items()}
    calls["served"] = lambda: _with_torch_threads(1, lambda: runner.embed([image]))
    products = {str(dtype).removeprefix("torch."): _product(device, dtype) for dtype in _types(device)}
    # One thread: its own time, so that what else runs on the machine does not count as the network's.
    clock = time.process_time if device.type == "cpu" and threads == 1 else time.perf_counter
    seconds = _with_torch_threads(threads, lambda: _take_turns({**calls, **products}, rounds, clock))
    rates = {name: patches / median(seconds[name]) for name in calls}
    limits = {name: 2 * MATRIX**3 / median(seconds[name]) / 1e9 for name in products}
    served = rates["served"] * direct_flop() / 1e9
    return Speed(
        device=torch.cuda.get_device_name() if device.type == "cuda" else torch.backends.cpu.get_cpu_capability(),
        threads=threads,
        patches=patches,
        patches_per_second=rates,
        feature_error=error,
        served_over_plain=median(p / s for p, s in zip(seconds["plain"], seconds["served"], strict=True)),
        matmul_gflops=limits,
        direct_mflop_per_patch=direct_flop() / 1e6,
        served_gflops=served,
        served_over_matmul=served / limits["float32"],
    )


def trunk_forms(encoder: SdaieEncoder, device: torch.device, threads: int) -> dict[str, Form]:
    """Those of our own that this machine can compute."""
    trunk = encoder.trunk
    forms: dict[str, Form] = {
        "plain": lambda batch: trunk(batch, folded=False),
        "plain, 8 at a time": lambda batch: torch.cat([trunk(part, folded=False) for part in batch.split(8)]),
        "eager (folded, 8 at a time)": fast_trunk(trunk, device, "eager"),
    }
    if device.type == "cuda":
        forms["half"] = fast_trunk(trunk, device, "half")
    elif has_bf16(device):
        forms["bf16"] = HalfTrunk(trunk, torch.bfloat16)
    if device.type == "cpu" and kernel.available():
        forms["kernel"] = fast_trunk(trunk, device, "kernel", threads)
    return forms


def _computing(form: Form, batch: Tensor) -> Callable[[], object]:
    return lambda: form(batch).cpu()  # which waits for a GPU


def _with_torch_threads(threads: int, call: Callable[[], Result]) -> Result:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return call()
    finally:
        torch.set_num_threads(before)


def _types(device: torch.device) -> list[torch.dtype]:
    return [torch.float32, torch.bfloat16] if has_bf16(device) else [torch.float32]


def _product(device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    left, right = (torch.randn(MATRIX, MATRIX, device=device, dtype=dtype) for _ in range(2))
    return lambda: (left @ right).sum().cpu()


def _relative(features: Tensor, expected: Tensor) -> float:
    return float((features - expected).norm() / expected.norm())


def _take_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each call in each round; a round that nobody counts comes first."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for counted in range(rounds + 1):
        for name, call in calls.items():
            started = clock()
            call()
            if counted:
                seconds[name].append(clock() - started)
    return seconds
