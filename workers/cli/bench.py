"""`lenswatch bench`: images per second through everything, the share of each stage, and the model alone.

`--model` times the network's forms against each other instead, without a server.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline.adapters.triton import TritonDetector
from pipeline.decode import decode
from pipeline.moderate import CHAMPION
from pipeline.patches import cut
from pipeline.store import VerdictView
from workers.bootstrap import Dependencies
from workers.cli.bench_model import bench_model
from workers.local import showcase
from workers.local.camera import SimulatedCamera, landscape
from workers.local.launch import Launched, launched

CAMERA = SimulatedCamera("SimCam bench", 200, Fraction(1, 125), 2.8, 23.0, 92)
HEIGHT, WIDTH = 768, 1024


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Both rates are of one run on one machine; their ratio is what can be compared between machines."""

    images: int
    patches_per_image: int
    end_to_end_images_per_second: float
    model_images_per_second: float
    model_patches_per_second: float
    end_to_end_over_model: float
    """Share of the model's own rate that is left when everything around it runs on the same cores."""
    stage_share: dict[str, float]
    """Share of a worker's time per image."""


def bench(
    images: Annotated[int, typer.Option(min=1, help="How many distinct photographs are sent.")] = 200,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the verdicts.")] = 1800,
    model: Annotated[
        bool, typer.Option("--model", help="Time the network alone, in all its forms. No servers.")
    ] = False,
    threads: Annotated[
        int, typer.Option(min=1, help="With --model: of a CPU. Two networks share it when serving.")
    ] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="With --model: how often each form has its turn.")] = 7,
) -> None:
    """Start a stack of its own, send simulated photographs through it, and time the model alone in the same run."""
    if model:
        bench_model(threads, rounds, json_output=json_output)
        return
    err = Console(stderr=True)
    photographs = dict(_photographs(track(range(images), "Making photographs", console=err)))
    with tempfile.TemporaryDirectory(prefix="lenswatch-bench-") as folder, launched(Path(folder)) as running:
        _score(running, {"warm-up": next(iter(_photographs([images])))[1]}, timeout)
        started = time.perf_counter()
        views = _score(running, photographs, timeout)
        elapsed = time.perf_counter() - started
        result = _summary(running.dependencies, list(photographs.values())[:20], views, elapsed)
    if json_output:
        typer.echo(json.dumps(asdict(result)))
    else:
        _print(result)


def _photographs(numbers: Iterable[int]) -> Iterable[tuple[str, bytes]]:
    """Distinct bytes of one scene: every photograph has sensor noise of its own."""
    scene = landscape(HEIGHT, WIDTH, seed=0)
    for number in numbers:
        yield f"bench-{number:05}.jpg", CAMERA.photograph(scene, seed=number)


def _score(running: Launched, photographs: dict[str, bytes], timeout: float) -> list[VerdictView]:
    events = {name: showcase.announce(running.dependencies, name, content) for name, content in photographs.items()}
    outcomes: dict[str, VerdictView | None] = {}
    for outcomes in showcase.follow(running.dependencies, events, timeout):  # noqa: B007  the last one is used
        running.require_alive()
    missing = [name for name, view in outcomes.items() if view is None]
    if missing:
        raise typer.BadParameter(f"{len(missing)} images got no verdict within {timeout} s; see the logs")
    return [view for view in outcomes.values() if view]


def _summary(deps: Dependencies, sample: list[bytes], views: list[VerdictView], elapsed: float) -> Benchmark:
    """`sample`: photographs whose patches the model is timed on by itself, one request after the other."""
    patches = [cut(decode(content, deps.settings.limits), deps.settings.limits.patch_budget) for content in sample]
    detector, model = TritonDetector(deps.triton), deps.registry.resolve(CHAMPION)
    started = time.perf_counter()
    for image in patches:
        detector.detect(image, model)
    seconds_per_image = (time.perf_counter() - started) / len(patches)
    stages = {stage for view in views for stage in view.timings_ms}
    spent = {stage: sum(view.timings_ms.get(stage, 0.0) for view in views) for stage in stages}
    end_to_end = len(views) / elapsed
    return Benchmark(
        images=len(views),
        patches_per_image=len(patches[0].pixels),
        end_to_end_images_per_second=end_to_end,
        model_images_per_second=1 / seconds_per_image,
        model_patches_per_second=len(patches[0].pixels) / seconds_per_image,
        end_to_end_over_model=end_to_end * seconds_per_image,
        stage_share={
            stage: value / sum(spent.values()) for stage, value in sorted(spent.items(), key=lambda item: -item[1])
        },
    )


def _print(result: Benchmark) -> None:
    table = Table(title=f"{result.images} photographs, {result.patches_per_image} patches each", show_header=False)
    table.add_row("end to end", f"{result.end_to_end_images_per_second:.2f} images/s")
    table.add_row(
        "model alone",
        f"{result.model_images_per_second:.2f} images/s = {result.model_patches_per_second:.0f} patches/s (both)",
    )
    table.add_row("end to end / model", f"{result.end_to_end_over_model:.2f}")
    for stage, share in result.stage_share.items():
        table.add_row(f"  {stage}", f"{share:.1%}")
    Console().print(table)
