"""`lenswatch train read-out`: the residual statistics' say in the binary head."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track

from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.retrain.described import Described, LabelledCrop

CROPS_PER_PHOTOGRAPH = 2


def train_read_out(
    data: Annotated[Path, typer.Option(help="Folder of photographs, with or without manifest.csv.")],
    ai: Annotated[Path, typer.Option(help="Folder of generated images.")],
    release: Annotated[Path, typer.Option(help="Release folder with both networks; read_out.* are written into it.")],
    cache: Annotated[Path | None, typer.Option(help="Decoded crops go here [RELEASE/../cache].")] = None,
    seed: int = 0,
) -> None:
    """Fit the residual statistics on real and AI images; weigh them against the network on what was held out."""
    from pipeline.retrain.read_out import train_read_out as fit

    described = described_folders(data, ai, release, cache or release.parent / "cache", seed=seed)
    read_out, card = fit(described)
    (release / "read_out.npz").write_bytes(read_out.to_bytes())
    facts = {"photographs": data.name, "ai": ai.name, "seed": seed, **card}
    (release / "read_out.json").write_text(json.dumps(facts, indent=1) + "\n")
    Console().print(f"weights: {card['weights']}, from {card['weighed_on']}")


def described_folders(data: Path, ai: Path, release: Path, cache: Path, *, seed: int) -> Described:
    """Both folders' crops, described with the networks of `release`; kept in `cache` for the next call."""
    from pipeline.adapters.local import LocalDetector  # torch, only here
    from pipeline.encoder.history import random_history
    from pipeline.release import Release
    from pipeline.retrain.described import Described, describe_crops

    crops = [*_crops(data, cache, is_ai=False), *_crops(ai, cache, is_ai=True)]
    file = cache / f"described-{_stamp(crops, release, seed)}.npz"
    if not file.exists():
        detector, model = LocalDetector(release, Settings().detector.trunk), Release.unversioned(release.name)
        describe_crops(crops, random_history, detector, model, seed=seed, track=_tracked).save(file)
    return Described.load(file, crops)


def _stamp(crops: Sequence[LabelledCrop], release: Path, seed: int) -> str:
    """Of all that descriptions depend on: crops, what is known of them, networks, and how they are described."""
    from pipeline.retrain.described import FORMAT

    known = hashlib.sha256(f"{FORMAT} {seed}".encode())
    for name in ("encoder", "binary"):
        known.update((release / f"{name}.safetensors").read_bytes())
    for crop in crops:
        known.update(repr([getattr(crop, of.name) for of in fields(crop) if of.name != "pixels"]).encode())
        known.update(crop.pixels.tobytes())
    return known.hexdigest()[:16]


def _crops(folder: Path, cache: Path, *, is_ai: bool) -> Iterator[LabelledCrop]:
    """Two of each image, which share no pixel: what is said of both together counts as two windows (ADR 16)."""
    from pipeline.encoder.data import TileCache
    from pipeline.retrain.described import LabelledCrop

    tiles = TileCache(folder, cache)
    by_image = tiles.apart(CROPS_PER_PHOTOGRAPH).values()
    for number in sorted(number for numbers in by_image for number in numbers):
        tile = tiles.tiles[number]
        yield LabelledCrop(
            tiles.tile(number),
            is_ai,
            tile.photograph,
            tile.source,
            tile.camera,
            "" if is_ai else tile.tags.get("Make", "").split(" ")[0].casefold(),
            tile.held_out,
            tile.held_out if is_ai else tile.weighs,
        )


def _tracked(crops: Iterable[LabelledCrop]) -> Iterable[LabelledCrop]:
    return track(list(crops), "describing crops", console=Console(stderr=True))
