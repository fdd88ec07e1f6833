"""What a training run computes on: one process or several, CPU or GPU, and in which precision."""

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True, slots=True)
class Workplace:
    """Which of how many processes this is, and its device."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def description(self) -> str:
        kind = torch.cuda.get_device_name() if self.device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
        return f"{self.world} x {kind}, {'bf16' if has_bf16(self.device) else 'fp32'}"

    def precision(self) -> AbstractContextManager[object]:
        """bf16 where the device computes in it, else float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=has_bf16(self.device))

    def share(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over all processes."""
        if self.world == 1:
            return module
        return nn.parallel.DistributedDataParallel(module)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process goes through the block before all others: it writes what they then only read."""
        if self.world > 1 and not self.is_first:
            distributed.barrier()
        yield
        if self.world > 1 and self.is_first:
            distributed.barrier()

    def any(self, condition: bool) -> bool:
        """Whether it holds in any process: how all of them stop at the same step, though their clocks differ."""
        flag = torch.tensor(float(condition), device=self.device)
        if self.world > 1:
            distributed.all_reduce(flag)
        return bool(flag > 0)


def has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextmanager
def workplace() -> Iterator[Workplace]:
    """Join the processes that torchrun started, if it did; NCCL on GPUs, gloo on CPUs."""
    keep_freed_memory()
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workplace(device, rank, world)
    finally:
        if world > 1:
            gc.collect()  # DistributedDataParallel holds the group in cycles, and gloo's threads abort at exit
            distributed.destroy_process_group()


def keep_freed_memory() -> None:
    """Tell glibc to keep large blocks instead of returning them to the system; nothing where there is no glibc.

    Each step frees and allocates the same gigabytes; without this the CPU spends a fifth of the time on page faults
    (165 -> 215 patches/s in training).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)  # never
        mallopt(top_pad, 256 * 2**20)
