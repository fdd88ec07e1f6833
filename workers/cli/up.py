"""`lenswatch up`: the whole of Lenswatch on one machine, and images through it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.errors import PipelineError
from pipeline.store import VerdictView
from workers.bootstrap import Dependencies
from workers.local import launch, services, showcase
from workers.local.processes import Process, ProcessFailed, wait_until_exit
from workers.local.report import next_steps, save_picture, verdict_table
from workers.local.samples import write_samples
from workers.local.stack import DEFAULT_FOLDER, LocalStack

NO_VERDICT, BROKEN, INTERRUPTED = 1, 3, 130
"""Exit codes."""

PLAIN_WIDTH = 160
"""Columns where the output is no terminal (a log of CI, a pipe): the table needs them."""


def up(
    images: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Your own images instead of the samples.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop everything after the table.")] = False,
    folder: Annotated[Path, typer.Option(help="Data and logs of the servers.")] = DEFAULT_FOLDER,
    shared: Annotated[Path, typer.Option(help="Its data/originals are samples too, if there.")] = Path("../shared"),
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the verdicts.")] = 300,
    picture: Annotated[Path | None, typer.Option(help="Save the table as an SVG picture.")] = None,
) -> None:
    """Start everything on this machine, score sample images, and stay up. Exit code 1: an image got no verdict."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # unwinds, as Ctrl-C does
    try:
        with _servers(folder, console) as (stack, deps), services.running(stack.folder) as processes:
            chosen = _images(images, stack.folder / "samples", shared)
            outcomes = _score(deps, chosen, processes, timeout, console)
            if picture:
                save_picture(verdict_table(outcomes), picture)
            if once:
                raise typer.Exit(NO_VERDICT if None in outcomes.values() else 0)
            console.print(next_steps(stack.web_url, stack.environment_file, stack.folder / "logs"))
            wait_until_exit([*processes, *(server.process for server in stack.servers)]).require_alive()
    except (ProcessFailed, PipelineError) as failure:
        console.print(str(failure), style="bold red", markup=False)
        raise typer.Exit(BROKEN) from failure
    except KeyboardInterrupt:
        console.print("Stopped. The data stays for the next start.")
        if once:
            raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _servers(folder: Path, console: Console) -> Iterator[tuple[LocalStack, Dependencies]]:
    with ExitStack() as running:
        with console.status("Starting Postgres, Redis, S3 and Triton; migrating; loading the detector"):
            stack, deps = running.enter_context(launch.servers(folder))
        console.print("Running:", ", ".join(f"{name} {version}" for name, version in stack.versions().items()))
        yield stack, deps


def _score(
    deps: Dependencies, images: dict[str, Path], processes: Sequence[Process], timeout: float, console: Console
) -> dict[str, VerdictView | None]:
    """Send `images` (name -> file) through the door, show how far they are, then the table."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    outcomes: dict[str, VerdictView | None] = {}
    with Progress(*columns, console=console) as progress:
        sent = progress.track(images.items(), description="Uploaded")
        events = {name: showcase.announce(deps, name, path.read_bytes()) for name, path in sent}
        task = progress.add_task("Verdicts", total=len(events))
        for outcomes in showcase.follow(deps, events, timeout):
            progress.update(task, completed=sum(view is not None for view in outcomes.values()))
            for process in processes:
                process.require_alive()
    console.print(verdict_table(outcomes))
    return outcomes


def _images(own: Path | None, samples: Path, shared: Path) -> dict[str, Path]:
    """Name -> file, of the user's own images or of the samples."""
    files = showcase.find_images(own) if own else write_samples(samples, shared)
    return {str(file.relative_to(own or samples)): file for file in files}
