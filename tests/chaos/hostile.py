"""`python -m tests.chaos.hostile`: hostile files through the whole real stack, and whether every promise held.

Starts a stack of its own (`workers.local.launch`), uploads each file of the corpus under its own key, announces it,
and waits until every upload has an end. Promised are: an outcome that the manifest allows, no second attempt, no dead
letter, no worker process lost, a p99 under `P99_SECONDS` and a peak under `PEAK_BYTES` for every worker process.
Exit code 1 where one of these is broken. Tables are Markdown.
"""

from __future__ import annotations

import csv
import json
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, create_engine, text

from pipeline.errors import PipelineError
from tests import images
from tests.paths import SHARED
from workers.bootstrap import Dependencies
from workers.local import showcase
from workers.local.launch import Launched, launched

P99_SECONDS = 2.0
PEAK_BYTES = 1 << 30
LARGE_PIXELS = (6250, 7990)
"""Height and width of the photographs made here, just under the 50 MP cap: the corpus holds few that cost memory."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file of the corpus."""

    name: str
    key: str
    kind: str
    allowed: frozenset[str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the stack made of it."""

    name: str
    kind: str
    allowed: tuple[str, ...]
    got: str
    reason: str
    attempts: int
    timings_ms: dict[str, float]

    @property
    def total_ms(self) -> float:
        return sum(self.timings_ms.values())


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A pool process of a worker."""

    lane: str
    pid: int

    @property
    def peak(self) -> int:
        return _peak(self.pid)


def main(
    shared: Annotated[Path, typer.Option(help="Folder that holds data/hostile.")] = SHARED,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every answer there too.")] = None,
    large: Annotated[bool, typer.Option(help="Also photographs of 50 MP in each format, made here.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the verdicts.")] = 1800,
) -> None:
    console = Console(width=160)
    cases = [*corpus(shared / "data" / "hostile"), *(large_photographs() if large else ())]
    with tempfile.TemporaryDirectory(prefix="lenswatch-hostile-") as folder, launched(Path(folder)) as running:
        warm_up = Case("warm-up", "warm-up.jpg", "", frozenset(), images.camera_jpeg())
        run(running, [warm_up], timeout)  # so that the first file pays for no start
        before = workers(running)
        started = _cpu_seconds(before)
        answers = run(running, cases, timeout)
        after = workers(running)
        cpu = (_cpu_seconds(after) - started) / len(cases)
        facts = {"dead letters": _count(running, "dead_letters"), "worker processes lost": len(before - after)}
        facts["EXIF from the fallback"] = _count(running, "exif", "reader = 'pillow'")
        peaks = {f"worker-{worker.lane}": worker.peak for worker in sorted(after, key=lambda worker: worker.lane)}
        exiftool = max((_peak(child.pid) for worker in after for child in _children(worker.pid)), default=0)
    for table in (kinds(answers), *speed(answers), memory(peaks, exiftool)):
        console.print(table)
    for name, count in facts.items():
        console.print(f"{name}: {count}")
    console.print(f"CPU of the workers a file, ExifTool included, Triton not: {cpu:.3f} s")
    broken = list(broken_promises(cases, answers, facts, peaks))
    for promise in broken:
        console.print(f"BROKEN: {promise}", style="bold red", markup=False)
    if json_file:
        said = {"answers": [asdict(answer) for answer in answers], "peak_bytes": peaks, "facts": facts}
        json_file.write_text(json.dumps({**said, "exiftool_peak_bytes": exiftool, "broken": broken}, indent=1))
    raise typer.Exit(1 if broken else 0)


# The corpus ----------------------------------------------------------------------------------------------------------


def corpus(folder: Path) -> Iterator[Case]:
    """Every file that the manifest lists; `expected` and `also_ok` together are what is allowed."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            outcomes = f"{row['expected']}|{row['also_ok']}".replace("-or-", "|").split("|")
            content = (folder / row["file"]).read_bytes()
            yield Case(row["file"], row["object_key"], row["kind"], frozenset(filter(None, outcomes)), content)


def large_photographs() -> Iterator[Case]:
    """Nearly 50 MP in every format that is encoded within seconds, with alpha where the format knows it."""
    height, width = LARGE_PIXELS
    tile = images.photo(500, 500)
    pixels = np.tile(tile, (-(-height // 500), -(-width // 500), 1))[:height, :width]
    rgba = np.dstack([pixels & 0xF8, pixels[..., 0] | 0x0F])
    made = {
        "large.jpg": images.encode(pixels, "JPEG", quality=60),
        "large-progressive.jpg": images.encode(pixels, "JPEG", quality=60, progressive=True, subsampling=0),
        "large-alpha.png": images.encode(rgba, "PNG", compress_level=1),
        "large-alpha.tif": images.encode(rgba[: height // 2], "TIFF", compression="tiff_lzw"),
        "large-alpha.webp": images.encode(rgba, "WEBP", quality=30, method=0),
        "large.avif": images.encode(pixels, "AVIF", quality=30, speed=10, subsampling="4:4:4"),
    }
    made["large-no-end-marker.jpg"] = made["large-progressive.jpg"][:-2]
    for name, content in made.items():
        yield Case(name, name, "large", frozenset({"scored", "not_applicable"}), content)


# The run -------------------------------------------------------------------------------------------------------------


def run(running: Launched, cases: list[Case], timeout: float) -> list[Answer]:
    """What became of all. A key that the object store took and then lost (rclone: a new line) is no fault of the
    file's, which is announced again under its own name."""
    answers = _run(running, cases, timeout)
    lost = [case for case, answer in zip(cases, answers, strict=True) if answer.reason == "object_missing"]
    again = _run(running, [replace(case, key=case.name) for case in lost], timeout)
    found = {answer.name: answer for answer in (*answers, *again)}
    return list(found.values())


def _run(running: Launched, cases: Iterable[Case], timeout: float) -> list[Answer]:
    """Announce all, wait for all, and read what became of them."""
    deps = running.dependencies
    events = {_announce(deps, case): case for case in cases}
    engine = create_engine(deps.settings.postgres.dsn.get_secret_value())
    attempts = _wait(running, engine, set(events), timeout)
    engine.dispose()
    with deps.stores.transaction() as transaction:
        views = transaction.verdicts.of_events(list(events))
    answers = []
    for event_id, case in events.items():
        view = views.get(event_id)
        kind, reason, timings = (view.verdict, view.reason, view.timings_ms) if view else ("none", "", {})
        got = kind if kind in ("rejected", "not_applicable", "none") else "scored"
        allowed = tuple(sorted(case.allowed))
        answers.append(Answer(case.name, case.kind, allowed, got, reason, attempts.get(event_id, 0), timings))
    return answers


def _announce(deps: Dependencies, case: Case) -> str:
    """Under its own key, or, where the object store refuses that one, under its file's name."""
    try:
        return showcase.announce(deps, case.key, case.content)
    except PipelineError:
        return showcase.announce(deps, case.name, case.content)


def _wait(running: Launched, engine: Engine, event_ids: set[str], timeout: float) -> Mapping[str, int]:
    """Event id -> attempts, once every event has an end or `timeout` s are over."""
    deadline = time.monotonic() + timeout
    while True:
        running.require_alive()
        with engine.connect() as connection:
            ended = connection.execute(
                text("SELECT event_id, attempts FROM uploads WHERE state IN ('done', 'dead')")
            ).all()
        if event_ids <= {event_id for event_id, _ in ended} or time.monotonic() > deadline:
            return {event_id: attempts for event_id, attempts in ended}  # noqa: C416
        time.sleep(showcase.POLL)


def workers(running: Launched) -> set[WorkerProcess]:
    """The pool processes of all lanes."""
    return {
        WorkerProcess(process.name.removeprefix("worker-"), child.pid)
        for process in running.processes
        if process.name.startswith("worker-")
        for child in _children(process.pid)
        if "exiftool" not in " ".join(child.cmdline())
    }


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children()


def _cpu_seconds(processes: Iterable[WorkerProcess]) -> float:
    """Of pool processes and their ExifTools."""
    families = [[psutil.Process(worker.pid), *_children(worker.pid)] for worker in processes]
    return sum(sum(member.cpu_times()[:2]) for family in families for member in family)


def _peak(pid: int) -> int:
    """Most bytes that the process ever had in memory (VmHWM of proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _count(running: Launched, table: str, condition: str = "true") -> int:
    engine = create_engine(running.dependencies.settings.postgres.dsn.get_secret_value())
    with engine.connect() as connection:
        count: int = connection.execute(
            text(f"SELECT count(*) FROM {table} WHERE {condition}")  # noqa: S608 - constants of this file
        ).scalar_one()
    engine.dispose()
    return count


# What is said about it -----------------------------------------------------------------------------------------------


def broken_promises(
    cases: list[Case], answers: list[Answer], facts: Mapping[str, int], peaks: Mapping[str, int]
) -> Iterator[str]:
    if len(answers) != len(cases):
        yield f"{len(cases) - len(answers)} files share an event"
    for answer in answers:
        if answer.got not in answer.allowed:
            yield f"{answer.name}: {answer.got} ({answer.reason}), allowed: {', '.join(answer.allowed)}"
        if answer.attempts > 1:
            yield f"{answer.name}: {answer.attempts} attempts"
    yield from (f"{name}: {facts[name]}" for name in ("dead letters", "worker processes lost") if facts[name])
    p99 = _quantile([answer for answer in answers if answer.kind != "large"], 0.99) / 1000
    if p99 >= P99_SECONDS:
        yield f"p99 is {p99:.2f} s"
    yield from (f"{name} peaked at {peak >> 20} MiB" for name, peak in peaks.items() if peak >= PEAK_BYTES)


def kinds(answers: list[Answer]) -> Table:
    table = _table("kind", "files", "name one outcome", "expected = got", "allow several", "got one of them", title="")
    for kind in [*sorted({answer.kind for answer in answers}), "all"]:
        of_kind = [answer for answer in answers if kind in (answer.kind, "all")]
        one = [answer for answer in of_kind if len(answer.allowed) == 1]
        several = [answer for answer in of_kind if len(answer.allowed) > 1]
        table.add_row(kind, *map(str, (len(of_kind), len(one), _right(one), len(several), _right(several))))
    return table


def speed(answers: list[Answer]) -> Iterator[Table]:
    """The slowest ten, stage by stage, and quantiles."""
    stages = list(dict.fromkeys(stage for answer in answers for stage in answer.timings_ms))
    slowest = _table("file", "kind", "outcome", *stages, "all", title="The slowest ten, ms")
    for answer in sorted(answers, key=lambda answer: -answer.total_ms)[:10]:
        shown = [f"{answer.timings_ms.get(stage, 0):.0f}" for stage in stages]
        slowest.add_row(answer.name, answer.kind, f"{answer.got}: {answer.reason}", *shown, f"{answer.total_ms:.0f}")
    yield slowest
    quantiles = _table("files", "p50", "p99", "max", title="A file's time in its worker, ms")
    hostile = [answer for answer in answers if answer.kind != "large"]
    for name, chosen in {"corpus": hostile, "50 MP": [a for a in answers if a.kind == "large"]}.items():
        if chosen:
            quantiles.add_row(name, *(f"{_quantile(chosen, q):.0f}" for q in (0.5, 0.99, 1)))
    yield quantiles


def memory(peaks: Mapping[str, int], exiftool: int) -> Table:
    table = _table("process", "peak, MiB", title="Peak memory (VmHWM)")
    for name, peak in {**peaks, "ExifTool": exiftool}.items():
        table.add_row(name, str(peak >> 20))
    return table


def _table(*columns: str, title: str) -> Table:
    table = Table(title=title or None, box=box.MARKDOWN, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _right(answers: list[Answer]) -> int:
    return sum(answer.got in answer.allowed for answer in answers)


def _quantile(answers: list[Answer], q: float) -> float:
    values: Any = [answer.total_ms for answer in answers]
    return float(np.quantile(values, q, method="higher")) if values else 0.0


if __name__ == "__main__":
    typer.run(main)
