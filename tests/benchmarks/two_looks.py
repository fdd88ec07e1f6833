"""What the second look does to p-values (ADR 20): shares of held-out images that are called `not_camera`, by one crop
of each, under rules that raise a p-value of 2 % or less to a part of the second. Writes a Markdown table.

    python -m tests.benchmarks.two_looks --real PHOTOS --ai AI_IMAGES --release RELEASE

Training folders; no evaluation image is looked at. Photographs that calibrate are in their own thresholds, which are of
all their crops.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from pipeline.adapters.local import LocalDetector
from pipeline.decode import decode
from pipeline.encoder.data import Tile, read_folder
from pipeline.evaluation.conditions import degrade
from pipeline.patches import NotApplicable
from pipeline.records import DOUBT
from pipeline.release import Release
from pipeline.second_look import NO_HEADER, Looking
from pipeline.settings import Settings

CONDITIONS = ("as_found", "reencoded", "half_size", "thumbnail")
RULES = {"one look": np.inf, "a fifth of the second": 5.0, "half of it": 2.0, "all of it": 1.0}
"""What the second p-value is divided by."""

Looks = NDArray[np.float64]
"""(images, conditions, 2): p-values at full size and at half of it; NaN where there is none."""


def held_out(folder: Path) -> Iterator[Tile]:
    """The first crop of each image that the networks were not trained on."""
    yield from {tile.photograph: tile for tile in reversed(read_folder(folder)) if tile.held_out}.values()


def looks(looking: Looking, file: Path, settings: Settings) -> Looks:
    """Of one image, (conditions, 2)."""
    image, found = decode(file.read_bytes(), settings.limits), np.full((len(CONDITIONS), 2), np.nan)
    for row, condition in enumerate(CONDITIONS):
        try:
            score = looking.twice(degrade(image, condition), NO_HEADER, {}).score
        except NotApplicable:
            continue
        half = score.half_size_p_value
        found[row] = score.full_size_p_value, np.nan if half is None else half
    return found


def called(of: Looks, divisor: float) -> str:
    """Percent of the images that have a p-value of 2 % or less, for each condition."""
    full, half = of[..., 0], of[..., 1]
    raised = np.fmax(full, half / divisor)
    shares = [np.mean(column[~np.isnan(column)] <= DOUBT) for column in np.where(full <= DOUBT, raised, full).T]
    return " / ".join(f"{100 * share:.1f}" for share in shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("real", "ai", "release"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options, settings = parser.parse_args(), Settings()
    release = Release.open(options.release)
    detector = LocalDetector(options.release, settings.detector.trunk)
    looking = Looking(detector, release.as_version(), release.scorer(), settings.limits.patch_budget)
    kinds: dict[str, list[Path]] = {"photographs that calibrate": [], "photographs that weigh": [], "AI images": []}
    for tile in held_out(options.real):
        kinds["photographs that weigh" if tile.weighs else "photographs that calibrate"].append(
            options.real / tile.file
        )
    kinds["AI images"] = [options.ai / tile.file for tile in held_out(options.ai)]
    found = {
        f"{kind} ({len(files)})": np.array([looks(looking, file, settings) for file in track(files, kind)])
        for kind, files in kinds.items()
    }
    print(f"| {', '.join(CONDITIONS)}, % | {' | '.join(found)} |\n|{'---|' * (1 + len(found))}")  # noqa: T201
    for rule, divisor in RULES.items():
        print(f"| {rule} | {' | '.join(called(of, divisor) for of in found.values())} |")  # noqa: T201


if __name__ == "__main__":
    main()
