"""What each element of the encoder's recipe is worth: runs of equal length with one thing changed, on photographs only.

    python -m pipeline.encoder.ablation --data FOLDER --out FOLDER --passes 4000 --seeds 2 --threads 1

A run leaves one JSON in the output folder, and is not run again where that is there; the table is made of them.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.encoder.heads import PlainHeads, start_at
from pipeline.encoder.loop import Schedule, Weights, fit
from pipeline.encoder.network import DIMENSIONS
from pipeline.encoder.place import Workplace, workplace
from pipeline.encoder.pretext import pretext_loss, tag_accuracies
from pipeline.encoder.train import EncoderTraining, PretextTask

BASELINE = "recipe"
CONSTANT = "constant"
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    BASELINE: ("the recipe", {}),
    "first-token": ("only the first token is a read-out", {"every_token": False}),
    "no-patch-heads": ("no heads on the patches", {"patch_heads": False}),
    "plain-heads": ("heads on raw features", {"standardised": False}),
    "no-frequencies": ("class heads start anywhere", {"frequencies": False}),
    "one-partner": ("ranking against one partner", {"all_pairs": False}),
    "by-file": ("sampling by file", {"balanced": False}),
    "undegraded": ("no degraded crops", {"degraded": 0.0}),
    "no-average": ("no moving average", {"average": 0.0}),
    "constant-rate": ("constant learning rate 1e-4 (paper)", {"one_cycle": False, "learning_rate": 1e-4}),
    "extra-tags": ("two more tags: JPEG step, chroma sampling", {"extra_tags": True}),
}
"""Name -> what the table calls it, and the fields of `EncoderTraining` or `Schedule` that are changed."""

EVALUATED_PATCHES = 4
"""Of one tile of each held-out photograph."""
MIN_JUDGED = 30
"""A tag that fewer held-out photographs have is left out: its loss is noise, and may outweigh all others."""
NEVER = float("inf")


@dataclass(frozen=True)
class Ablation:
    """All runs of one table."""

    data: Path
    out: Path
    passes: int = 4000
    """Patch passes of a run."""
    seeds: int = 2
    images: int = 16
    patches: int = 4
    rows: Sequence[str] = tuple(ROWS)

    def training(self, row: str, seed: int) -> EncoderTraining:
        schedule = Schedule(
            steps=self.passes // (self.images * self.patches), checkpoint_seconds=NEVER, evaluate_seconds=NEVER
        )
        run = EncoderTraining(self.data, self.out / row, cache=self.out / "cache", seed=seed, schedule=schedule)
        run = replace(run, images=self.images, patches=self.patches)
        for name, value in ROWS[row][1].items():
            if hasattr(schedule, name):
                run = replace(run, schedule=replace(run.schedule, **{name: value}))
            else:
                run = replace(run, **{name: value})
        return run


class _MeasuredTask(PretextTask):
    """The encoder's task, which keeps its figures instead of exporting weights."""

    def __init__(self, run: EncoderTraining, place: Workplace) -> None:
        super().__init__(run, place)
        photographs = {self.cache.tiles[n].photograph: n for n in reversed(self.held_out)}
        self.judged = sorted(photographs.values())  # one tile of each
        if not self.judged:
            raise ValueError(f"{run.data}: no source and no camera is held out, so nothing can be compared")
        # On CPUs by the processor's clock: what else runs on the machine doesn't count.
        self.clock: Callable[[], float] = time.monotonic if place.device.type == "cuda" else time.process_time
        self.started: float | None = None

    def losses(self, model: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        if self.started is None:
            self.started = self.clock()
        return super().losses(model, batch)

    def evaluate(self, weights: Weights) -> dict[str, Any]:
        now = self.clock()
        seconds = now - (self.started or now)
        figures = self.judge(self.outputs(weights, self.judged, EVALUATED_PATCHES))
        passes = (self.run.schedule.steps or 0) * self.patches_per_batch
        return figures | {"patches_per_second": passes / max(seconds, 1e-9)}

    def export(self, weights: Weights, facts: dict[str, Any]) -> None:
        del weights
        figures = json.dumps(facts["held_out"] | {"minutes": facts["minutes"], "device": facts["device"]}, indent=1)
        (self.run.out / "figures.json").write_text(figures + "\n", encoding="utf-8")

    def judge(self, outputs: Tensor) -> dict[str, Any]:
        """Figures over the tags that enough held-out photographs have, from the heads' outputs (photographs, K)."""
        targets = self.exif_labels(self.judged)
        heads = outputs.unsqueeze(1).split([tag.size for tag in self.exif], dim=2)
        losses = {
            tag.name: pretext_loss(head, target.unsqueeze(1), [tag]).item()
            for tag, head, target in zip(self.exif, heads, targets.unbind(1), strict=True)
            if (~target.isnan()).sum() >= MIN_JUDGED
        }
        accuracies = tag_accuracies(outputs, targets, self.exif)
        ranked = {tag.name for tag in self.exif if tag.kind == "rank"}
        gains = {name: found["accuracy"] - found["majority"] for name, found in accuracies.items() if name in losses}
        return {
            "loss": sum(losses.values()),
            "losses": losses,
            "rank_accuracy": 0.5 + _mean(gain for name, gain in gains.items() if name in ranked),
            "class_gain": _mean(gain for name, gain in gains.items() if name not in ranked),
        }

    def constant_figures(self) -> dict[str, Any]:
        """Of always the same answer: how often each class is drawn in training, and equal ranks."""
        heads = PlainHeads([tag.size for tag in self.exif])
        start_at(heads, self.frequencies()[: len(self.exif)])
        with torch.no_grad():
            answer = heads(torch.zeros(1, 1, DIMENSIONS))[0].expand(len(self.judged), -1)
        return self.judge(answer) | {"rank_accuracy": 0.5}  # equal scores order no pair: chance


def run_ablation(ablation: Ablation) -> str:
    """Run what is not there yet, and write the table to OUT/table.md, anew after each run."""
    ablation.out.mkdir(parents=True, exist_ok=True)
    with workplace() as place:
        for seed in range(ablation.seeds):  # a whole table of one seed first
            for row in ablation.rows:
                _run(ablation, row, seed, place)
                (ablation.out / "table.md").write_text(markdown(ablation), encoding="utf-8")
    return markdown(ablation)


def _run(ablation: Ablation, row: str, seed: int, place: Workplace) -> None:
    finished = _file(ablation, row, seed)
    if finished.exists():
        return
    run = ablation.training(row, seed)
    shutil.rmtree(run.out, ignore_errors=True)  # a run that was cut short is run anew: its time would not count
    run.out.mkdir(parents=True)
    task = _MeasuredTask(run, place)
    if row == BASELINE and seed == 0:
        _write(_file(ablation, CONSTANT, 0), task.constant_figures())
    fit(task, run.schedule, run.out, place)
    _write(finished, json.loads((run.out / "figures.json").read_text(encoding="utf-8")))
    shutil.rmtree(run.out)


def markdown(ablation: Ablation) -> str:
    """The table of the runs that are there. A cell is the mean over seeds, and half of what they span.

    A row of fewer seeds than asked for says so.
    """
    found = {row: _read(ablation, row) for row in (CONSTANT, *ablation.rows)}  # row -> seed -> figures
    lines = [
        "| changed | held-out loss | gain on the recipe | rank accuracy | class accuracy - majority | patches/s |",
        "|---|---|---|---|---|---|",
    ]
    constant = found.pop(CONSTANT)[0]
    cells = [f"{constant['loss']:.3f}", "", f"{constant['rank_accuracy']:.3f}", f"{constant['class_gain']:+.3f}", ""]
    lines.append("| " + " | ".join(["always the same answer", *cells]) + " |")
    for row, runs in found.items():
        if not runs:
            continue
        gains = [found[BASELINE][seed]["loss"] - figures["loss"] for seed, figures in runs.items()]
        name = ROWS[row][0] + ("" if len(runs) == ablation.seeds else f" (seeds: {len(runs)})")
        cells = [
            _cell([figures["loss"] for figures in runs.values()], ".3f"),
            "" if row == BASELINE else _cell(gains, "+.3f"),
            _cell([figures["rank_accuracy"] for figures in runs.values()], ".3f"),
            _cell([figures["class_gain"] for figures in runs.values()], "+.3f"),
            _cell([figures["patches_per_second"] for figures in runs.values()], ".1f"),
        ]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float], form: str) -> str:
    spread = f" ± {(max(values) - min(values)) / 2:{form.lstrip('+')}}" if len(values) > 1 else ""
    return f"{fmean(values):{form}}{spread}"


def _mean(values: Iterator[float]) -> float:
    listed = list(values)
    return fmean(listed) if listed else 0.0


def _file(ablation: Ablation, row: str, seed: int) -> Path:
    """Named by all that makes two runs comparable, so that a table never mixes others in."""
    size = f"{ablation.passes}x{ablation.images}x{ablation.patches}"
    return ablation.out / f"{row}-{size}-seed{seed}.json"


def _write(file: Path, figures: dict[str, Any]) -> None:
    file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _read(ablation: Ablation, row: str) -> dict[int, dict[str, Any]]:
    """Figures by seed, of the runs that are finished."""
    files = {seed: _file(ablation, row, seed) for seed in range(ablation.seeds)}
    return {seed: json.loads(file.read_text(encoding="utf-8")) for seed, file in files.items() if file.exists()}


def main() -> None:
    """The command line of a machine that has nothing but torch, NumPy, Pillow, safetensors and rich."""
    parser = argparse.ArgumentParser(description="Measure each element of the encoder's recipe.")
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs, with or without manifest.csv")
    parser.add_argument("--out", type=Path, required=True, help="one JSON a run, and table.md, go here")
    parser.add_argument("--passes", type=int, default=Ablation.passes, help="patch passes of a run")
    parser.add_argument("--seeds", type=int, default=Ablation.seeds)
    parser.add_argument("--images", type=int, default=Ablation.images, help="images in a batch")
    parser.add_argument("--patches", type=int, default=Ablation.patches, help="patches of each image")
    parser.add_argument("--threads", type=int, help="of torch [all cores]")
    options = vars(parser.parse_args())
    if threads := options.pop("threads"):
        torch.set_num_threads(threads)
    print(run_ablation(Ablation(**options)))  # noqa: T201  the command's output


if __name__ == "__main__":
    main()
