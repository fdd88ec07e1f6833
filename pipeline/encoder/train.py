"""Train the encoder on the pretext task.

    python -m pipeline.encoder.train --data FOLDER --out FOLDER --minutes 50
    torchrun --nproc-per-node 8 -m pipeline.encoder.train --data FOLDER --out FOLDER --steps 100000

The same command trains on GPUs and on CPUs, and goes on from `encoder.pt` in the output folder if there is one.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.encoder.data import Tile, TileCache, balanced_weights, cut, degrade, file_weights
from pipeline.encoder.export import export_encoder
from pipeline.encoder.heads import PlainHeads, StandardisedHeads, first_heads, start_at
from pipeline.encoder.loop import Batch, Schedule, Weights, fit, random_for
from pipeline.encoder.network import ExifHeads, SdaieEncoder
from pipeline.encoder.place import Workplace, workplace
from pipeline.encoder.pretext import Tag, choose_tags, labels, pretext_loss, tag_accuracies
from pipeline.encoder.start import start_encoder, training_before
from pipeline.encoder.tags import choose_extra_tags

EVALUATED_PATCHES = 16
PATHS = ("data", "out", "cache", "name", "init")
"""Fields of a run that are no part of its recipe."""
SWITCHES = ("every_token", "patch_heads", "standardised", "frequencies", "all_pairs", "balanced", "extra_tags")
"""Elements of the recipe that are on or off."""


@dataclass(frozen=True)
class EncoderTraining:
    """One training run; the defaults are the recipe of the shipped encoder."""

    data: Path
    out: Path
    name: str = "sdaie-small"
    cache: Path | None = None
    images: int = 32
    """Images in a batch of one process."""
    patches: int = 8
    """Patches of each."""
    degraded: float = 0.3
    """Share of images that are lightly degraded."""
    seed: int = 0
    every_token: bool = True
    """Every token is a read-out; else only the first, as in the paper."""
    patch_heads: bool = True
    """The same heads once more on each patch's covariance feature."""
    standardised: bool = True
    """Heads read standardised features while they are trained."""
    frequencies: bool = True
    """Class heads start at how often each class is drawn, instead of learning that first."""
    all_pairs: bool = True
    """Ranked tags compare all pairs of a batch; else each image has one partner, as in the paper."""
    balanced: bool = True
    """Sources and cameras are drawn in balance; else every file equally often."""
    extra_tags: bool = False
    """Two more tags that only training knows: how the file was compressed (`compression`)."""
    init: Path | None = None
    """Release folder whose encoder the run starts from; random weights if None."""
    schedule: Schedule = field(default_factory=Schedule)


class PretextModel(nn.Module):
    """Encoder and heads; `patch_heads`, the same ones on each patch's covariance feature, are for training only.

    The changes from the paper are about speed: every token is a read-out, not only the first, and the second set of
    heads teaches the trunk without the detour through the transformer.
    """

    def __init__(self, tags: Sequence[Tag], run: EncoderTraining) -> None:
        super().__init__()
        self.encoder = SdaieEncoder()
        self.queries = None if run.every_token else 1
        heads_for = StandardisedHeads if run.standardised else PlainHeads
        sizes = [tag.size for tag in tags]
        self.heads = heads_for(sizes)
        self.patch_heads = heads_for(sizes) if run.patch_heads else None

    def forward(self, patches: Tensor) -> dict[str, Tensor]:
        """uint8 (B, T, 64, 64, 3) -> outputs of the heads (B, T or 1, K), by what they read."""
        features = self.encoder.forward_patches(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])  # (B, T, 528)
        outputs = {"tokens": self.heads(self.encoder.mix(features, queries=self.queries))}
        if self.patch_heads is not None:
            outputs["patches"] = self.patch_heads(features)
        return outputs


class PretextTask:
    """`loop.Task` of the encoder."""

    name = "encoder"

    def __init__(self, run: EncoderTraining, place: Workplace) -> None:
        self.run, self.place = run, place
        with place.first_alone():
            self.cache = TileCache(run.data, run.cache or run.out / "cache")
        tiles = self.cache.tiles
        self.fit = [n for n, tile in enumerate(tiles) if not tile.held_out]
        self.held_out = [n for n, tile in enumerate(tiles) if tile.held_out]
        known = [tile.tags for tile in self._photographs(self.fit)]
        self.exif = choose_tags(known)  # first, and exported
        self.tags = self.exif + (choose_extra_tags(known) if run.extra_tags else ())
        self.labels = labels(self.tags, [tile.tags for tile in tiles])
        self.weights = (balanced_weights if run.balanced else file_weights)([tiles[n] for n in self.fit])
        self.patches_per_batch = run.images * run.patches
        self.identity: dict[str, Any] = {"tags": [[tag.name, *tag.classes] for tag in self.tags], **_changes(run)}
        torch.manual_seed(run.seed)
        model = PretextModel(self.tags, run)
        if run.frequencies:
            start_at(model.heads, self.frequencies())
            if model.patch_heads is not None:
                start_at(model.patch_heads, self.frequencies())
        self.before: dict[str, Any] = {}
        if run.init:
            self.before = training_before(run.init, "encoder")
            self.identity |= self.before  # a run from random weights is another one
            start_encoder(model.encoder, model.heads, self.tags, run.init, torch.from_numpy(self.batch(0)[0]))
        self.model: nn.Module = model

    def batch(self, step: int) -> Batch:
        """uint8 (B, T, 64, 64, 3) and labels (B, tags)."""
        random = random_for(self.run.seed, self.place, step)
        numbers = random.choice(self.fit, self.run.images, p=self.weights)
        crops, targets = [], self.labels[numbers]
        for row, number in enumerate(numbers):
            pixels = self.cache.tile(number)
            if random.random() < self.run.degraded:
                pixels = degrade(pixels, random)
                targets[row, len(self.exif) :] = np.nan  # how the file was compressed shows no longer
            crops.append(cut(pixels, self.run.patches, random))
        return np.stack(crops), targets

    def losses(self, model: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        patches, targets = batch
        with self.place.precision():
            outputs = model(patches)
        all_pairs = self.run.all_pairs
        return {name: pretext_loss(found, targets, self.tags, all_pairs=all_pairs) for name, found in outputs.items()}

    def evaluate(self, weights: Weights) -> dict[str, Any]:
        """Accuracy of each head on undegraded tiles of held-out sources and cameras."""
        if not self.held_out:
            return {}
        outputs = self.outputs(weights, self.held_out, EVALUATED_PATCHES)
        return tag_accuracies(outputs, self.exif_labels(self.held_out), self.exif)

    def exif_labels(self, numbers: Sequence[int]) -> Tensor:
        """(tiles, 14): without the tags that only training knows."""
        return torch.from_numpy(self.labels[numbers][:, : len(self.exif)])

    @torch.inference_mode()
    def outputs(self, weights: Weights, numbers: Sequence[int], patches: int) -> Tensor:
        """What the exported heads say about undegraded tiles, (tiles, K); the same patches whatever the run's seed."""
        encoder, heads = self._with(weights)
        random = np.random.default_rng(0)
        found = []
        for some in np.array_split(numbers, -(-len(numbers) // 16)):
            crops = np.concatenate([cut(self.cache.tile(n), patches, random) for n in some])
            with self.place.precision():
                on_device = torch.from_numpy(crops).to(self.place.device)
                found.append(heads(encoder(on_device, [patches] * len(some))).float().cpu())
        return torch.cat(found)

    def export(self, weights: Weights, facts: dict[str, Any]) -> None:
        recipe = {key: value for key, value in asdict(self.run).items() if key not in PATHS}
        training = {
            "data": self.run.data.name,
            "photographs": {
                "fit": len(self._photographs(self.fit)),
                "held_out": len(self._photographs(self.held_out)),
            },
            "recipe": recipe,
            **self.before,
            **facts,
        }
        export_encoder(self.run.out, *self._with(weights), self.exif, self.run.name, training)

    def _with(self, weights: Weights) -> tuple[SdaieEncoder, ExifHeads]:
        model = PretextModel(self.tags, self.run).to(self.place.device)
        model.load_state_dict(weights)
        return model.encoder.eval(), first_heads(model.heads.folded(), len(self.exif)).to(self.place.device).eval()

    def frequencies(self) -> list[Tensor | None]:
        """By tag: the share of each class among what is drawn, (classes,); None for a ranked tag."""
        drawn = self.labels[self.fit]
        found: list[Tensor | None] = []
        for tag, column in zip(self.tags, drawn.T, strict=True):
            known = np.isfinite(column)
            if tag.kind == "class" and known.any():
                counts = np.bincount(column[known].astype(int), self.weights[known], minlength=tag.size)
                found.append(torch.from_numpy(counts / counts.sum()).float())
            else:
                found.append(None)
        return found

    def _photographs(self, numbers: Sequence[int]) -> list[Tile]:
        """One tile of each photograph."""
        return list({self.cache.tiles[n].photograph: self.cache.tiles[n] for n in numbers}.values())


def _changes(run: EncoderTraining) -> dict[str, Any]:
    """Elements of the recipe that are not as usual: a checkpoint of another recipe can't be gone on from."""
    return {name: getattr(run, name) for name in SWITCHES if getattr(run, name) != getattr(EncoderTraining, name)}


def train_encoder(run: EncoderTraining) -> None:
    """Train, or go on training, and export encoder.safetensors and encoder.json to `run.out`."""
    run.out.mkdir(parents=True, exist_ok=True)
    with workplace() as place:
        fit(PretextTask(run, place), run.schedule, run.out, place)


def main() -> None:
    """The command line of a machine that has nothing but torch, NumPy, Pillow, safetensors and rich."""
    parser = argparse.ArgumentParser(description="Train the SDAIE encoder on photographs with EXIF.")
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs, with or without manifest.csv")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, log and exported weights go here")
    parser.add_argument("--cache", type=Path, help="decoded tiles go here [OUT/cache]")
    parser.add_argument("--init", type=Path, help="release folder to start from [random weights]")
    parser.add_argument("--name", default=EncoderTraining.name)
    parser.add_argument("--minutes", type=float, default=Schedule.minutes)
    parser.add_argument("--steps", type=int, help="instead of --minutes")
    parser.add_argument("--learning-rate", type=float, default=Schedule.learning_rate)
    parser.add_argument("--images", type=int, default=EncoderTraining.images, help="images in a batch of one process")
    parser.add_argument("--patches", type=int, default=EncoderTraining.patches, help="patches of each image")
    parser.add_argument("--degraded", type=float, default=EncoderTraining.degraded, help="share of degraded images")
    parser.add_argument("--seed", type=int, default=EncoderTraining.seed)
    for name in SWITCHES:
        option, usual = f"--{name.replace('_', '-')}", getattr(EncoderTraining, name)
        parser.add_argument(option, action=argparse.BooleanOptionalAction, default=usual, help="see docs/train.md")
    parser.add_argument("--one-cycle", action=argparse.BooleanOptionalAction, default=Schedule.one_cycle)
    parser.add_argument("--average", type=float, default=Schedule.average, help="decay of the moving average")
    options = vars(parser.parse_args())
    of_schedule = ("minutes", "steps", "learning_rate", "one_cycle", "average")
    schedule = Schedule(**{key: options.pop(key) for key in of_schedule})
    train_encoder(EncoderTraining(**options, schedule=schedule))


if __name__ == "__main__":
    main()
