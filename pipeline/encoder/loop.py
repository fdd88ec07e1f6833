"""The training loop that both networks share: budget, schedule, moving average, checkpoints and log."""

import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from pipeline.encoder.curves import Curves
from pipeline.encoder.place import Workplace

T = TypeVar("T")
Weights = dict[str, Tensor]
Batch = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: either `steps` or `minutes` (of all sittings together) is the budget."""

    minutes: float | None = 50
    steps: int | None = None
    learning_rate: float = 1.5e-3
    """Peak of the one-cycle schedule."""
    one_cycle: bool = True
    """Else the learning rate is constant."""
    average: float = 0.998
    """Decay of the moving average of the weights; 0 is none."""
    checkpoint_seconds: float = 60
    evaluate_seconds: float = 1200


class Task(Protocol):
    """What is trained. `loop.fit` does the rest."""

    name: str
    model: nn.Module
    patches_per_batch: int
    identity: dict[str, Any]
    """What a checkpoint must have been trained for, to be gone on from (plain JSON values)."""

    def batch(self, step: int) -> Batch:
        """Arrays of one step in this process; random numbers from seed, process and step alone, so runs resume."""
        ...

    def losses(self, model: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Scalars by name; their sum is minimised."""
        ...

    def evaluate(self, weights: Weights) -> dict[str, Any]:
        """Figures on held-out data, plain JSON values."""
        ...

    def export(self, weights: Weights, facts: dict[str, Any]) -> None:
        """Write the release's files; `facts` say how the training went."""
        ...


@dataclass(slots=True)
class Budget:
    """How much of the schedule is used up."""

    schedule: Schedule
    step: int = 0
    seconds: float = 0.0
    _since: float = field(default_factory=time.monotonic)

    @property
    def progress(self) -> float:
        """In [0, 1]."""
        if self.schedule.steps is not None:
            return min(1.0, self.step / self.schedule.steps) if self.schedule.steps else 1.0
        if self.schedule.minutes is None:
            raise ValueError("give either steps or minutes")
        return min(1.0, self.seconds / max(1e-9, 60 * self.schedule.minutes))

    @property
    def learning_rate(self) -> float:
        peak = self.schedule.learning_rate
        return one_cycle(self.progress, peak) if self.schedule.one_cycle else peak

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


@torch.no_grad()
def follow(average: Weights, module: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average, in place; quick at first, so that it never holds on to the random start."""
    decay = min(decay, (1 + step) / (10 + step))
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)


class _Run:
    """The state of one run, and how it gets to disk and back."""

    def __init__(self, task: Task, schedule: Schedule, out: Path, place: Workplace) -> None:
        self.task, self.schedule, self.out, self.place = task, schedule, out, place
        self.model = task.model.to(place.device)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), weight_decay=1e-4)
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.budget = Budget(schedule)
        self.checkpoint = out / f"{task.name}.pt"
        if self.checkpoint.exists():
            self._resume()

    def step(self, model: nn.Module, batch: Batch) -> dict[str, float]:
        """One optimiser step; the losses by name."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.budget.learning_rate
        tensors = tuple(torch.from_numpy(array).to(self.place.device, non_blocking=True) for array in batch)
        losses = self.task.losses(model, tensors)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        follow(self.average, self.model, self.schedule.average, self.budget.step)
        self.budget.tick()
        return {name: round(loss.item(), 4) for name, loss in losses.items()}

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "steps": self.budget.step,
            "patch_passes": self.budget.step * self.task.patches_per_batch * self.place.world,
            "minutes": round(self.budget.seconds / 60, 1),
            "device": self.place.description,
        }

    def save(self) -> None:
        """All or nothing: a run that dies while writing keeps its last checkpoint."""
        if not self.place.is_first:
            return
        part = self.checkpoint.with_suffix(".part")
        state = {
            "identity": self.task.identity,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "step": self.budget.step,
            "seconds": self.budget.seconds,
        }
        torch.save(state, part)
        part.replace(self.checkpoint)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.place.device, weights_only=True)
        if state["identity"] != self.task.identity:
            raise ValueError(f"{self.checkpoint} was trained for something else: choose another output folder")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = state["average"]
        self.budget.step, self.budget.seconds = state["step"], state["seconds"]


class _Log:
    """Losses and figures of one run, on disk: as JSON lines, and as curves. Only the first process writes."""

    def __init__(self, out: Path, name: str, run: _Run) -> None:
        self.file, self.run, self.active = out / f"{name}.jsonl", run, run.place.is_first
        self.curves = Curves(out / "tensorboard" / name, run.budget.step, active=self.active)

    def losses(self, losses: dict[str, float]) -> None:
        budget = self.run.budget
        self._write(losses)
        self.curves.add(budget.step, "loss", losses | {"sum": sum(losses.values())})
        speed = {"patches_per_second": self.run.facts["patch_passes"] / max(budget.seconds, 1e-9)}
        self.curves.add(budget.step, "training", speed | {"learning_rate": budget.learning_rate})

    def held_out(self, figures: dict[str, Any]) -> None:
        self._write({"held_out": figures})
        self.curves.add(self.run.budget.step, "held_out", figures)

    def close(self) -> None:
        self.curves.close()

    def _write(self, values: dict[str, Any]) -> None:
        if self.active:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(self.run.facts | values) + "\n")


def fit(task: Task, schedule: Schedule, out: Path, place: Workplace) -> None:
    """Train until the budget is spent, going on from OUT/<name>.pt if there is one; evaluate and export at the end.

    Losses and held-out figures go to OUT/<name>.jsonl, one JSON object a line, and to OUT/tensorboard.
    """
    run = _Run(task, schedule, out, place)
    model = place.share(run.model)
    log = _Log(out, task.name, run)
    saved = evaluated = time.monotonic()
    with _progress_bar(task.name, active=place.is_first) as bar:
        said = bar.add_task(task.name, total=1.0, loss="")
        for batch in _ahead(task.batch, run.budget.step):
            if place.any(run.budget.progress >= 1):
                break
            losses = run.step(model, batch)
            bar.update(said, completed=run.budget.progress, loss=f"loss {sum(losses.values()):.3f}")
            now = time.monotonic()
            if run.budget.step % 20 == 0:
                log.losses(losses)
            if now - saved > schedule.checkpoint_seconds:
                run.save()
                saved = now
            if now - evaluated > schedule.evaluate_seconds and place.is_first:
                log.held_out(task.evaluate(run.average))
                evaluated = now
    run.save()
    if place.is_first:
        held_out = task.evaluate(run.average)
        log.held_out(held_out)
        task.export(run.average, run.facts | {"held_out": held_out})
    log.close()


def _ahead(produce: Callable[[int], T], first: int) -> Iterator[T]:
    """produce(first), produce(first + 1), ... with the next one made in the background."""
    with ThreadPoolExecutor(1) as worker:
        following = worker.submit(produce, first)
        while True:
            first += 1
            current, following = following.result(), worker.submit(produce, first)
            yield current


def _progress_bar(title: str, *, active: bool) -> Progress:
    columns = (
        TextColumn(title),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    return Progress(*columns, disable=not active)


def random_for(seed: int, place: Workplace, step: int) -> np.random.Generator:
    """The random numbers of one step in one process."""
    return np.random.default_rng((seed, place.rank, step))
