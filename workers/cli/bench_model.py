"""`lenswatch bench --model`: patches per second of the network in all its forms, beside what the machine can do."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.encoder.speed import Speed


def bench_model(threads: int, rounds: int, *, json_output: bool) -> None:
    """Time the networks of the configured release in this process and print the figures."""
    from pipeline.encoder.speed import measure_speed  # torch, only here

    speed = measure_speed(Settings().detector.release, threads=threads, rounds=rounds)
    if json_output:
        typer.echo(json.dumps(asdict(speed)))
    else:
        _print(speed)


def _print(speed: Speed) -> None:
    console, plain = Console(), speed.patches_per_second["plain"]
    table = Table(title=f"{speed.patches} patches on {speed.device}, {speed.threads} thread(s)")
    for heading in ("form", "patches/s", "to plain", "feature error"):
        table.add_column(heading, justify="left" if heading == "form" else "right")
    for form, rate in sorted(speed.patches_per_second.items(), key=lambda item: item[1]):
        error = speed.feature_error.get(form)
        table.add_row(form, f"{rate:.0f}", f"{rate / plain:.2f}", "" if error is None else f"{error:.0e}")
    console.print(table)
    for name, limit in speed.matmul_gflops.items():
        console.print(f"matrix product, {name}: {limit:.0f} GFLOP/s")
    console.print(
        f"served: {speed.served_over_plain:.2f} times plain; in the direct form's count "
        f"({speed.direct_mflop_per_patch:.0f} MFLOP a patch) {speed.served_gflops:.0f} GFLOP/s, that is "
        f"{speed.served_over_matmul:.2f} of the fp32 matrix product (Winograd's form, with a third of the operations, "
        "may pass 1)"
    )
