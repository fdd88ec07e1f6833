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

from pipeline.encoder.data import Tile, TileCache, balanced_weights, cut, degrade
from pipeline.encoder.export import export_encoder
from pipeline.encoder.heads import StandardisedHeads
from pipeline.encoder.loop import Batch, Schedule, Weights, fit, random_for
from pipeline.encoder.network import ExifHeads, SdaieEncoder
from pipeline.encoder.place import Workplace, workplace
from pipeline.encoder.pretext import Tag, choose_tags, labels, pretext_loss, tag_accuracies
from pipeline.encoder.start import start_encoder, training_before

EVALUATED_PATCHES = 16
PATHS = ("data", "out", "cache", "name", "init")
"""Fields of a run that are no part of its recipe."""


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
    init: Path | None = None
    """Release folder whose encoder the run starts from; random weights if None."""
    schedule: Schedule = field(default_factory=Schedule)


class PretextModel(nn.Module):
    """Encoder and heads, with the same heads once more on each patch's covariance feature (training only).

    Both changes from the paper are about speed: every token is a read-out, not only the first, and the second set of
    heads teaches the trunk without the detour through the transformer.
    """

    def __init__(self, tags: Sequence[Tag]) -> None:
        super().__init__()
        self.encoder = SdaieEncoder()
        sizes = [tag.size for tag in tags]
        self.heads, self.patch_heads = StandardisedHeads(sizes), StandardisedHeads(sizes)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (B, T, 64, 64, 3) -> outputs of the heads (B, T, K): on the tokens, and on the patches alone."""
        features = self.encoder.forward_patches(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])  # (B, T, 528)
        return self.heads(self.encoder.mix(features)), self.patch_heads(features)


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
        self.tags = choose_tags([tile.tags for tile in self._photographs(self.fit)])
        self.labels = labels(self.tags, [tile.tags for tile in tiles])
        self.weights = balanced_weights([tiles[n] for n in self.fit])
        self.patches_per_batch = run.images * run.patches
        self.identity: dict[str, Any] = {"tags": [[tag.name, *tag.classes] for tag in self.tags]}
        torch.manual_seed(run.seed)
        model = PretextModel(self.tags)
        self.before: dict[str, Any] = {}
        if run.init:
            self.before = training_before(run.init, "encoder")
            self.identity |= self.before  # a run from random weights is another one
            start_encoder(model.encoder, model.heads, self.tags, run.init, torch.from_numpy(self.batch(0)[0]))
        self.model: nn.Module = model

    def batch(self, step: int) -> Batch:
        """uint8 (B, T, 64, 64, 3) and labels (B, 14)."""
        random = random_for(self.run.seed, self.place, step)
        numbers = random.choice(self.fit, self.run.images, p=self.weights)
        crops = []
        for number in numbers:
            pixels = self.cache.tile(number)
            if random.random() < self.run.degraded:
                pixels = degrade(pixels, random)
            crops.append(cut(pixels, self.run.patches, random))
        return np.stack(crops), self.labels[numbers]

    def losses(self, model: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        patches, targets = batch
        with self.place.precision():
            on_tokens, on_patches = model(patches)
        return {
            "tokens": pretext_loss(on_tokens, targets, self.tags),
            "patches": pretext_loss(on_patches, targets, self.tags),
        }

    @torch.inference_mode()
    def evaluate(self, weights: Weights) -> dict[str, Any]:
        """Accuracy of each head on undegraded tiles of held-out sources and cameras."""
        if not self.held_out:
            return {}
        encoder, heads = self._with(weights)
        random = np.random.default_rng(self.run.seed)
        outputs = []
        for numbers in np.array_split(self.held_out, -(-len(self.held_out) // 16)):
            patches = np.concatenate([cut(self.cache.tile(n), EVALUATED_PATCHES, random) for n in numbers])
            with self.place.precision():
                on_device = torch.from_numpy(patches).to(self.place.device)
                outputs.append(heads(encoder(on_device, [EVALUATED_PATCHES] * len(numbers))).float().cpu())
        return tag_accuracies(torch.cat(outputs), torch.from_numpy(self.labels[self.held_out]), self.tags)

    def export(self, weights: Weights, facts: dict[str, Any]) -> None:
        recipe = {key: value for key, value in asdict(self.run).items() if key not in PATHS}
        training = {
            "data": self.run.data.name,
            "photographs": {
                "fit": len(self._photographs(self.fit)),
                "held_out": len(self._photographs(self.held_out)),
            },
            "recipe": recipe | {"every_token_is_a_read_out": True, "heads_on_patches": True, "standardised": True},
            **self.before,
            **facts,
        }
        export_encoder(self.run.out, *self._with(weights), self.tags, self.run.name, training)

    def _with(self, weights: Weights) -> tuple[SdaieEncoder, ExifHeads]:
        model = PretextModel(self.tags).to(self.place.device)
        model.load_state_dict(weights)
        return model.encoder.eval(), model.heads.folded().eval()

    def _photographs(self, numbers: Sequence[int]) -> list[Tile]:
        """One tile of each photograph."""
        return list({self.cache.tiles[n].photograph: self.cache.tiles[n] for n in numbers}.values())


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
    options = vars(parser.parse_args())
    schedule = Schedule(**{key: options.pop(key) for key in ("minutes", "steps", "learning_rate")})
    train_encoder(EncoderTraining(**options, schedule=schedule))


if __name__ == "__main__":
    main()
