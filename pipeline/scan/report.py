"""Scan -> Report: what training would make of the folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.encoder.data import Tile, tile_of
from pipeline.encoder.tags import ORDER, choose_tags
from pipeline.records import SurfacePolicy
from pipeline.scan.folder import Row, Scan
from pipeline.scan.signs import FLAGS


@dataclass(frozen=True, slots=True)
class Side:
    """Photographs of one side of the split, each counted once however many crops of it there are."""

    photographs: int
    sources: int
    cameras: int


@dataclass(frozen=True, slots=True)
class TagCoverage:
    name: str
    photographs: int
    """That state the tag."""
    classes: Mapping[str, int] | None
    """Value -> photographs to fit on with it, as training chooses its classes; None for a tag that is ranked."""


@dataclass(frozen=True, slots=True)
class Report:
    """About the rows that training reads; `left_out` are the others."""

    files: int
    photographs: int
    sources: int
    cameras: int
    fit: Side
    held_out: Side
    tags: tuple[TagCoverage, ...]
    flags: Mapping[str, int]
    """Flag -> files, duplicates among them."""
    duplicates: Mapping[str, int]
    """`exact` and `near` -> files that training leaves out for it."""
    unreadable: Mapping[str, int]
    """Reason -> files."""
    left_out: int
    """Files left out on request, by their flags."""
    passed_over: Mapping[str, int]
    warnings: tuple[str, ...]


def without(rows: Iterable[Row], flags: Iterable[str]) -> list[Row]:
    """The rows that have none of `flags`. Where that takes the kept copy of a photograph, the next copy is kept."""
    unwanted = set(flags)
    kept = [row for row in rows if not unwanted & set(row["flags"].split())]
    there = {row["file"] for row in kept}
    heirs: dict[str, str] = {}
    return [row if row["duplicate_of"] in there else _orphan(row, heirs) for row in kept]


def _orphan(row: Row, heirs: dict[str, str]) -> Row:
    """A row without its first copy; `heirs`: lost first copy -> the file that takes its place."""
    if not row["duplicate_of"]:
        return row
    heir = heirs.setdefault(row["duplicate_of"], row["file"])
    return {**row, "duplicate_of": "" if heir == row["file"] else heir}


def report(scan: Scan, rows: Sequence[Row]) -> Report:
    """`rows`: those of `scan` that are kept."""
    tiles = [tile_of(row) for row in rows if not row["duplicate_of"]]
    photographs = list({tile.photograph: tile for tile in tiles}.values())
    fit = [tile for tile in photographs if not tile.held_out]
    held_out = [tile for tile in photographs if tile.held_out]
    flags = Counter(flag for row in scan.rows for flag in row["flags"].split())
    everything = _side(photographs)
    return Report(
        files=len(tiles),
        photographs=everything.photographs,
        sources=everything.sources,
        cameras=everything.cameras,
        fit=_side(fit),
        held_out=_side(held_out),
        tags=_tags(photographs, fit),
        flags={flag: flags[flag] for flag in FLAGS if flags[flag]},
        duplicates=dict(Counter(scan.duplicates[row["file"]][1] for row in rows if row["duplicate_of"])),
        unreadable=dict(Counter(sorted(file.reason for file in scan.unreadable))),
        left_out=len(scan.rows) - len(rows),
        passed_over=scan.passed_over,
        warnings=tuple(_warnings(fit, held_out, flags)),
    )


def _side(photographs: Sequence[Tile]) -> Side:
    cameras = {tile.camera for tile in photographs if tile.camera}
    return Side(len(photographs), len({tile.source for tile in photographs}), len(cameras))


def _tags(photographs: Sequence[Tile], fit: Sequence[Tile]) -> tuple[TagCoverage, ...]:
    found = []
    for tag in choose_tags([tile.tags for tile in fit]):
        values = Counter(tile.tags.get(tag.name) for tile in fit)
        classes = {name: values[name] for name in tag.classes if name} if tag.kind == "class" else None
        found.append(TagCoverage(tag.name, sum(tag.name in tile.tags for tile in photographs), classes))
    return tuple(found)


def _warnings(fit: Sequence[Tile], held_out: Sequence[Tile], flags: Mapping[str, int]) -> Iterator[str]:
    promised = SurfacePolicy().not_camera_fpr
    needed = round(1 / promised) - 1  # docs/adr/0002
    if not fit:
        yield "every photograph is held out: nothing to fit on. More sources (folders), or a manifest that names them"
    if len(held_out) < needed:
        yield f"photographs held out: {len(held_out)}; a promise of {promised:.0%} takes {needed}"
    known = [name for name, _ in ORDER if any(name in tile.tags for tile in fit)]
    if fit and not known:
        yield "no EXIF at all: the encoder has nothing to learn from these files"
    if flags.get("generator"):
        yield "files that name a generator: no photographs, leave them out (--leave-out generator)"
