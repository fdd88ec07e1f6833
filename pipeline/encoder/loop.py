"""What both trainings share: budget, schedule, moving average, checkpoints, log, processes, mixed precision."""

import ctypes
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor, distributed, nn

T = TypeVar("T")


@dataclass(slots=True)
class Budget:
    """When training ends: after `steps`, or after `minutes` of training (those before a resume count)."""

    steps: int | None
    minutes: float | None
    step: int = 0
    seconds: float = 0.0
    _since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        if self.steps is not None:
            return min(1.0, self.step / self.steps)
        return min(1.0, self.seconds / (60 * (self.minutes or 0) or 1))

    def tick(self) -> None:
        """One step is done."""
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now
        self.step += 1


def one_cycle(progress: float, peak: float, warm_up: float = 0.08) -> float:
    """Learning rate: up from peak/25 over the first 8 % of the budget, then a half cosine down to peak/1000."""
    if progress < warm_up:
        return peak * (0.04 + 0.96 * progress / warm_up)
    return peak * (0.001 + 0.999 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2)


class Average:
    """Exponential moving average of a module's weights: what is evaluated and exported."""

    def __init__(self, module: nn.Module, decay: float = 0.998) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Follow quickly at first, so that the average never holds on to the random start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)


@dataclass(frozen=True, slots=True)
class Workplace:
    """Which of how many processes this is, and what it computes on."""

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


def ahead(produce: Callable[[int], T], first: int) -> Iterator[T]:
    """produce(first), produce(first + 1), ... with the next one made in the background."""
    with ThreadPoolExecutor(1) as worker:
        following = worker.submit(produce, first)
        while True:
            first += 1
            current, following = following.result(), worker.submit(produce, first)
            yield current


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """All or nothing: a run that dies while writing keeps its last checkpoint."""
    part = path.with_suffix(".part")
    torch.save(dict(state), part)
    part.replace(path)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


class Log:
    """JSON lines beside the run, and a progress bar; silent in all processes but the first."""

    def __init__(self, path: Path, title: str, budget: Budget, *, active: bool) -> None:
        self._path, self._budget, self._active = path, budget, active
        said = TextColumn("{task.fields[said]}")
        self._bar = Progress(
            TextColumn(title), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), said, disable=not active
        )
        self._task = self._bar.add_task(title, total=1.0, said="")

    def __enter__(self) -> "Log":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, said: str) -> None:
        self._bar.update(self._task, completed=self._budget.progress, said=said)

    def write(self, **facts: Any) -> None:
        if self._active:
            line = json.dumps({"step": self._budget.step, "seconds": round(self._budget.seconds, 1), **facts})
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def to_device(array: Any, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device, non_blocking=True)
