"""`python -m tests.fuzz TARGET [--runs N] [--seconds S]`: coverage-guided fuzzing by atheris (libFuzzer).

Mutates the seeds for as long as each new path through our code and Pillow's is worth following. A promise that breaks
stops the run, and its input is written beside the corpus; its minimal form belongs into `test_regressions.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Annotated, Any

import atheris
import typer

with atheris.instrument_imports(include=["pipeline.decode", "pipeline.events", "pipeline.exif", "pipeline.provenance",
                                         "PIL", "pillow_heif", "json"]):  # fmt: skip
    from tests.fuzz import mutations, seeds, targets

FOLDER = Path(".lenswatch/fuzz")
OUT_OF_MEMORY_MB, HANGS_SECONDS, LONGEST_INPUT = 2048, 20, 16_384


class Target(StrEnum):
    EVENTS = "events"
    EXIF = "exif"
    PROVENANCE = "provenance"
    DECODE = "decode"


def main(
    target: Target,
    runs: Annotated[int, typer.Option(help="Inputs to try.")] = 1_000_000,
    seconds: Annotated[int, typer.Option(help="Stop after so long, however many were tried.")] = 600,
    folder: Annotated[Path, typer.Option(help="What was found worth mutating, kept for the next time.")] = FOLDER,
) -> None:
    function, inputs = TARGETS[target]
    corpus = folder / target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(inputs()):
        (corpus / f"seed-{number:02}").write_bytes(content)
    options = [f"-runs={runs}", f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}"]
    options += [f"-rss_limit_mb={OUT_OF_MEMORY_MB}", f"-timeout={HANGS_SECONDS}", "-print_final_stats=1"]
    options += [f"-artifact_prefix={folder}/{target}-"]
    mutator = {"custom_mutator": _damaged} if target is Target.DECODE else {}
    atheris.Setup([sys.argv[0], *options, str(corpus)], function, **mutator)
    atheris.Fuzz()  # ends the process


def _damaged(data: bytes, longest: int, seed: int) -> bytes:
    """Half of the mutations know how an image file is built."""
    random = Random(seed)
    damaged = mutations.mutate(data, random) if random.random() < 0.5 else atheris.Mutate(data, longest)
    return damaged[:longest]


def events(data: bytes) -> None:
    """Of JSON as it arrives, or, where the bytes are none, of edits of an event and of both kinds of notification."""
    targets.event(data)
    try:
        targets.notification(json.loads(data))
    except (ValueError, RecursionError):
        provider = atheris.FuzzedDataProvider(data)
        targets.event(json.dumps(_edited(seeds.EVENT, provider)))
        targets.notification(_edited({"Records": [seeds.RECORD]}, provider))
        targets.notification(_edited(seeds.EVENT_BRIDGE, provider))


def _edited(value: Any, provider: atheris.FuzzedDataProvider) -> Any:
    """The value, with parts replaced or left out."""
    edit = provider.ConsumeIntInRange(0, 12)
    if edit == 0:
        return _value(provider)
    if isinstance(value, dict):
        kept = {name: part for name, part in value.items() if edit != 1 or provider.ConsumeBool()}
        return {name: _edited(part, provider) for name, part in kept.items()}
    if isinstance(value, list):
        return [_edited(part, provider) for part in value]
    if isinstance(value, str) and edit <= 4:
        place = provider.ConsumeIntInRange(0, len(value))
        return value[:place] + provider.ConsumeUnicode(8) * provider.ConsumeIntInRange(0, 300) + value[place + 1 :]
    return value


def tags(names: list[str]) -> Callable[[bytes], None]:
    """Of JSON as ExifTool writes it, or, where the bytes are none, of values made from them for tags that we read."""

    def fuzz(data: bytes) -> None:
        try:
            found = json.loads(data, parse_float=str, parse_int=str)
        except (ValueError, RecursionError):
            found = None
        targets.metadata(found if isinstance(found, dict) else _made(data, names))

    return fuzz


def _made(data: bytes, names: list[str]) -> dict[str, Any]:
    provider = atheris.FuzzedDataProvider(data)
    made: dict[str, Any] = {}
    while provider.remaining_bytes():
        name = provider.PickValueInList(names)
        if provider.ConsumeProbability() < 0.1:
            name = provider.ConsumeUnicode(20) + name.partition(":")[2]
        made[name] = _value(provider)
    return made


def _value(provider: atheris.FuzzedDataProvider) -> object:
    kinds: list[Callable[[], object]] = [
        lambda: provider.ConsumeUnicode(300),
        provider.ConsumeFloat,
        lambda: provider.ConsumeInt(12),
        lambda: str(provider.ConsumeFloat()),
        lambda: [provider.ConsumeUnicode(30) for _ in range(provider.ConsumeIntInRange(0, 5))],
        lambda: {provider.ConsumeUnicode(5): provider.ConsumeUnicode(30)},
        lambda: None,
    ]
    return provider.PickValueInList(kinds)()


TARGETS: dict[Target, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    Target.EVENTS: (events, seeds.texts),
    Target.EXIF: (tags([name for name in seeds.TAG_NAMES if name.startswith(("EXIF:", "ExifTool:"))]), seeds.tags),
    Target.PROVENANCE: (tags(seeds.TAG_NAMES), seeds.tags),
    Target.DECODE: (targets.image, seeds.pictures),
}

if __name__ == "__main__":
    typer.run(main)
