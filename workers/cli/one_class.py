"""`lenswatch train one-class`: fit and calibrate a release's one-class model on photographs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from pipeline.read_out import ReadOut
from pipeline.retrain.initial import Examined, PhotoFiles, fit_first
from pipeline.settings import Settings


def train_one_class(
    data: Annotated[Path, typer.Option(help="Folder of photographs, with or without manifest.csv.")],
    release: Annotated[Path, typer.Option(help="Release folder with both networks; one_class.* are written into it.")],
    seed: int = 0,
) -> None:
    """Fit on the photographs that the networks were trained on, calibrate on those held out from them."""
    from pipeline.adapters.local import LocalDetector  # torch, only here
    from pipeline.encoder.history import random_history
    from pipeline.release import Release

    settings = Settings()
    examined = Examined(
        LocalDetector(release, settings.detector.trunk),
        Release.unversioned(release.name),
        ReadOut.from_bytes((release / "read_out.npz").read_bytes()),
        settings.limits,
    )
    model, card = fit_first(_photographs(data), random_history, examined, seed=seed, track=_tracked)
    (release / "one_class.npz").write_bytes(model.to_bytes())
    (release / "one_class.json").write_text(json.dumps({"data": data.name, **card}, indent=1) + "\n")
    sizes = ", ".join(f"{view} {one['components']} on {one['axes']} axes" for view, one in card["views"].items())
    Console().print(
        f"{card['fit_photos']} photographs fitted on, {card['calibration_photos']} calibrated on; components: {sizes}"
    )


def _photographs(folder: Path) -> list[PhotoFiles]:
    from pipeline.encoder.data import read_folder  # the split that the networks were trained with

    crops = defaultdict(list)
    for tile in read_folder(folder):
        crops[tile.photograph].append(tile)
    return [
        PhotoFiles(
            files=tuple(folder / tile.file for tile in tiles),
            group=tiles[0].source,
            held_out=tiles[0].held_out,
            weighs=tiles[0].weighs,
            make=tiles[0].tags.get("Make"),
        )
        for tiles in crops.values()
    ]


def _tracked(photos: Iterable[PhotoFiles]) -> Iterable[PhotoFiles]:
    return track(list(photos), "reading photographs", console=Console(stderr=True))
