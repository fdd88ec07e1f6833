"""Mappings and figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

WIDE = 8
"""Numbers by name that have a row each; more of them share one."""


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [_row(headers), _row(["---"] * len(headers)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(escaped(str(cell)) for cell in cells) + " |"


def escaped(text: str) -> str:
    """Text out of somebody's manifest stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`{"a": {"b": 1}}` -> `("a.b", "1")`; long lists and wide objects stay in their file or share a row."""
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            plain = not any(isinstance(inner, Mapping | list) for inner in value.values())
            if plain and len(value) > WIDE:
                yield f"{prefix}{name}", ", ".join(f"{inner} {said(number)}" for inner, number in value.items())
            else:
                yield from flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
            yield f"{prefix}{name}", f"{len(value)} entries, in the file"
        else:
            yield f"{prefix}{name}", said(value)


def said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(said, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def percent(rate: float) -> str:
    return f"{rate * 100:g} %"


def code(text: str) -> str:
    return f"`{text}`"
