"""Negatives made without a generator: our own photographs, re-synthesised. Do they teach what generators leave behind?

    python -m tests.benchmarks.generator_free --real PHOTOS --ai AI_IMAGES --release RELEASE --cache FOLDER

Two read-outs of the residual statistics: fitted on photographs against their re-synthesis alone, and on these together
with real AI images; asked about left-out generator families and phones as `lenswatch eval --unseen` asks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.progress import track
from scipy.fft import dctn, idctn
from scipy.ndimage import convolve, uniform_filter

from pipeline.encoder.data import FIRST_QUALITIES, jpeg
from pipeline.encoder.history import random_history
from pipeline.evaluation.conditions import degrade
from pipeline.evaluation.figures import measure
from pipeline.patches import NotApplicable, cut
from pipeline.records import DecodedImage
from pipeline.retrain.described import HISTORIES, VERSIONS, Described
from pipeline.retrain.read_out import fit_read_out
from pipeline.retrain.unseen import FAMILIES, folds
from pipeline.statistics import describe
from pipeline.windows import TOGETHER
from workers.cli.read_out import described_folders

Pixels = NDArray[np.uint8]
Random = np.random.Generator
PHONES = ("samsung+google", "huawei+xiaomi+oneplus")


def _uint8(values: NDArray[np.floating]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def down_up(pixels: Pixels, random: Random) -> Pixels:
    """What interpolating up-samplers leave."""
    image, scale = Image.fromarray(pixels), random.uniform(0.3, 0.75)
    small = image.resize((max(16, round(image.width * scale)), max(16, round(image.height * scale))), Image.LANCZOS)
    kinds = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    return np.asarray(small.resize(image.size, kinds[random.integers(3)]))


def zero_insertion(pixels: Pixels, random: Random) -> Pixels:
    """What transposed convolutions leave: zeros between pixels, then a slightly uneven kernel."""
    height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    half = Image.fromarray(pixels[:height, :width]).resize((width // 2, height // 2), Image.Resampling.LANCZOS)
    spread = np.zeros((height, width, 3))
    spread[::2, ::2] = np.asarray(half)
    taps = np.array([1, 3, 3, 1]) / 4
    kernel = np.outer(taps, taps) * (1 + random.normal(0, 0.03, (4, 4)))
    return _uint8(np.stack([convolve(spread[..., c], kernel, mode="reflect") for c in range(3)], -1))


def denoised(pixels: Pixels, random: Random) -> Pixels:
    """An edge-preserving filter, and white noise in place of the sensor's: what denoising samplers leave."""
    values = pixels.astype(np.float64)
    grey = values.mean(2)
    mean = uniform_filter(grey, 5)
    variance = uniform_filter(grey**2, 5) - mean**2
    keep = (variance / (variance + random.uniform(20, 200)))[..., None]
    smooth = np.stack([uniform_filter(values[..., c], 5) for c in range(3)], -1)
    return _uint8(keep * values + (1 - keep) * smooth + random.normal(0, random.uniform(0, 2), values.shape))


def sharpened(pixels: Pixels, random: Random) -> Pixels:
    radius, percent = random.uniform(0.5, 2), int(random.integers(60, 220))
    return np.asarray(Image.fromarray(down_up(pixels, random)).filter(ImageFilter.UnsharpMask(radius, percent, 0)))


def block_coded(pixels: Pixels, random: Random) -> Pixels:
    """A coarse code of 8x8 blocks, as an auto-encoder's latent is one."""
    height, width = pixels.shape[0] // 8 * 8, pixels.shape[1] // 8 * 8
    blocks = pixels[:height, :width].astype(np.float64).reshape(height // 8, 8, width // 8, 8, 3)
    code = dctn(blocks, axes=(1, 3), norm="ortho")
    kept = np.add.outer(np.arange(8), np.arange(8)) < random.integers(4, 7)
    decoded = idctn(code * kept[None, :, None, :, None], axes=(1, 3), norm="ortho").reshape(height, width, 3)
    return np.asarray(Image.fromarray(_uint8(decoded)).filter(ImageFilter.GaussianBlur(random.uniform(0.3, 0.9))))


KINDS: Mapping[str, Callable[[Pixels, Random], Pixels]] = {
    "down and up": down_up,
    "zero insertion": zero_insertion,
    "denoised": denoised,
    "sharpened": sharpened,
    "block code": block_coded,
}


def resynthesised(data: Described) -> Described:
    """One re-synthesis of every photograph's first crop, by a kind drawn at random; embeddings are not computed."""
    seen: set[str] = set()
    crops, statistics = [], []
    for number, crop in enumerate(track(data.crops, "re-synthesis")):
        if crop.is_ai or crop.photograph in seen:
            continue
        seen.add(crop.photograph)
        random = np.random.default_rng((1, number))
        name = list(KINDS)[random.integers(len(KINDS))]
        pixels = jpeg(KINDS[name](crop.pixels, random), int(random.choice(FIRST_QUALITIES)))  # as AI images were
        image = DecodedImage(pixels, "JPEG")
        versions = [image, degrade(image, "reencoded")]
        versions += [random_history(image, random)[0] for _ in range(HISTORIES)]
        try:
            statistics.append([describe(cut(version, TOGETHER).pixels) for version in versions])
        except NotApplicable:
            continue
        crops.append(replace(crop, is_ai=True, camera=name))
    count = len(crops)
    nothing = np.zeros((count, len(VERSIONS)))
    none = nothing[..., None].astype(np.float32)
    return Described(
        tuple(crops), np.arange(count), np.array(statistics), none, none, nothing, nothing.astype(np.int64)
    )


def together(data: Described, extra: Described) -> Described:
    return replace(
        data,
        crops=data.crops + extra.crops,
        statistics=np.concatenate([data.statistics, extra.statistics]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("real", "ai", "release", "cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    data = described_folders(options.real, options.ai, options.release, options.cache, seed=0)
    extra = resynthesised(data)
    both = together(data, extra)
    sources = np.array([crop.source for crop in extra.crops])
    areas: dict[str, list[list[float]]] = {"AI images": [], "re-synthesis": [], "both": []}
    for fold in track(list(folds(data, tuple(FAMILIES), PHONES)), "folds"):
        left = {crop.source for crop, out in zip(data.crops, fold.left_out, strict=True) if out}
        usable_extra = ~np.isin(sources, list(left))
        nothing = np.zeros(len(sources), np.bool_)
        for name, rows in {
            "AI images": np.concatenate([fold.usable, nothing]),
            "re-synthesis": np.concatenate([fold.usable & ~data.is_ai, usable_extra]),
            "both": np.concatenate([fold.usable, usable_extra]),
        }.items():
            scores = fit_read_out(both, rows).statistics_logit(data.statistics[fold.left_out, :2])
            is_ai = data.is_ai[fold.left_out]
            areas[name].append(
                [measure(scores[~is_ai, v], scores[is_ai, v], resamples=2)["auroc"].value for v in (0, 1)]
            )
    print("| negatives | mean, as found | worst | mean, re-encoded | worst |\n|---|---|---|---|---|")  # noqa: T201
    for name, values in areas.items():
        found = np.array(values)
        cells = " | ".join(f"{found[:, v].mean():.3f} | {found[:, v].min():.3f}" for v in (0, 1))
        print(f"| {name} | {cells} |")  # noqa: T201


if __name__ == "__main__":
    main()
