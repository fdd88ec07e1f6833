"""Train the encoder on the pretext task.

    python -m pipeline.encoder.train --data FOLDER --out FOLDER --minutes 50
    torchrun --nproc-per-node 8 -m pipeline.encoder.train --data FOLDER --out FOLDER --steps 100000

The same command trains on GPUs and on CPUs, and goes on from `checkpoint.pt` in the output folder if there is one.
Needs only torch, NumPy, Pillow, safetensors and rich.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.encoder.data import Tile, TileCache, balanced_weights, cut, degrade
from pipeline.encoder.export import export_encoder
from pipeline.encoder.loop import (
    Average,
    Budget,
    Log,
    Workplace,
    ahead,
    load_checkpoint,
    one_cycle,
    save_checkpoint,
    to_device,
    workplace,
)
from pipeline.encoder.network import ExifHeads, SdaieEncoder
from pipeline.encoder.pretext import Tag, choose_tags, labels, pretext_loss, tag_accuracies


@dataclass(frozen=True)
class EncoderTraining:
    """One training run; the defaults are the recipe of the shipped encoder."""

    data: Path
    out: Path
    minutes: float | None = 50
    steps: int | None = None
    name: str = "sdaie-small"
    cache: Path | None = None
    images: int = 32
    """Images in a batch of one process."""
    patches: int = 8
    """Patches of each."""
    learning_rate: float = 1e-3
    degraded: float = 0.3
    """Share of images that are lightly degraded."""
    seed: int = 0
    checkpoint_seconds: float = 60
    evaluate_seconds: float = 600


class PretextModel(nn.Module):
    """Encoder and heads, with the same heads once more on each patch's covariance feature (training only).

    Both changes from the paper are about speed: every token is a read-out, not only the first, and the second set of
    heads teaches the trunk without the detour through the transformer.
    """

    def __init__(self, tags: Sequence[Tag]) -> None:
        super().__init__()
        sizes = [tag.size for tag in tags]
        self.encoder, self.heads, self.patch_heads = SdaieEncoder(), ExifHeads(sizes), ExifHeads(sizes)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (B, T, 64, 64, 3) -> outputs of the heads (B, T, K): on the tokens, and on the patches alone."""
        features = self.encoder.forward_patches(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])  # (B, T, 528)
        return self.heads(self.encoder.mix(features)).float(), self.patch_heads(features).float()


def train_encoder(run: EncoderTraining) -> Path:
    """Train, or go on training, and export encoder.safetensors and encoder.json to `run.out`, which is returned."""
    run.out.mkdir(parents=True, exist_ok=True)
    with workplace() as place:
        _Trainer(run, place).train()
    return run.out


class _Trainer:
    def __init__(self, run: EncoderTraining, place: Workplace) -> None:
        self.run, self.place = run, place
        self.cache = TileCache(run.data, run.cache or run.out / "cache")
        tiles = self.cache.tiles
        self.fit = np.array([n for n, tile in enumerate(tiles) if not tile.held_out])
        self.held_out = np.array([n for n, tile in enumerate(tiles) if tile.held_out])
        self.tags = choose_tags([tile.tags for tile in _one_per_photograph([tiles[n] for n in self.fit])])
        self.labels = labels(self.tags, [tile.tags for tile in tiles])
        self.weights = balanced_weights([tiles[n] for n in self.fit])

        torch.manual_seed(run.seed)
        self.model = PretextModel(self.tags).to(place.device)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), weight_decay=1e-4)
        self.average = Average(self.model)
        self.budget = Budget(run.steps, None if run.steps else run.minutes)
        self._resume()

    @property
    def patch_passes(self) -> int:
        return self.budget.step * self.run.images * self.run.patches * self.place.world

    def train(self) -> None:
        model = self.place.share(self.model)
        saved = evaluated = time.monotonic()
        with Log(self.run.out / "log.jsonl", "encoder", self.budget, active=self.place.is_first) as log:
            for patches, targets in ahead(self._batch, self.budget.step):
                if self._finished():
                    break
                losses = self._step(model, to_device(patches, self.place.device), to_device(targets, self.place.device))
                log.advance(f"loss {sum(losses):.2f}  {self.patch_passes:,} patches")
                if self.budget.step % 20 == 0:
                    log.write(tokens=round(losses[0], 4), patches=round(losses[1], 4), patch_passes=self.patch_passes)
                if time.monotonic() - saved > self.run.checkpoint_seconds:
                    self._save()
                    saved = time.monotonic()
                if time.monotonic() - evaluated > self.run.evaluate_seconds:
                    log.write(held_out=self._held_out_accuracies())
                    evaluated = time.monotonic()
            self._save()
            if self.place.is_first:
                accuracies = self._held_out_accuracies()
                log.write(held_out=accuracies)
                self._export(accuracies)

    def _batch(self, step: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """uint8 (B, T, 64, 64, 3) and labels (B, 14). Its random numbers depend on seed, process and step alone."""
        random = np.random.default_rng((self.run.seed, self.place.rank, step))
        numbers = random.choice(self.fit, self.run.images, p=self.weights)
        crops = []
        for number in numbers:
            pixels = self.cache.tile(number)
            if random.random() < self.run.degraded:
                pixels = degrade(pixels, random)
            crops.append(cut(pixels, self.run.patches, random))
        return np.stack(crops), self.labels[numbers]

    def _step(self, model: nn.Module, patches: Tensor, targets: Tensor) -> tuple[float, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = one_cycle(self.budget.progress, self.run.learning_rate)
        with self.place.precision():
            on_tokens, on_patches = model(patches)
        token_loss = pretext_loss(on_tokens, targets, self.tags)
        patch_loss = pretext_loss(on_patches, targets, self.tags)
        (token_loss + patch_loss).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.average.update(self.model, self.budget.step)
        self.budget.tick()
        return token_loss.item(), patch_loss.item()

    def _finished(self) -> bool:
        """All processes stop at the same step, though their clocks differ."""
        done = torch.tensor(float(self.budget.progress >= 1), device=self.place.device)
        if self.place.world > 1:
            torch.distributed.all_reduce(done)
        return bool(done > 0)

    @torch.inference_mode()
    def _held_out_accuracies(self) -> dict[str, dict[str, float]]:
        """Of the averaged weights, on undegraded tiles of held-out sources and cameras, 16 patches each."""
        encoder, heads = self._averaged()
        random = np.random.default_rng(self.run.seed)
        outputs = []
        for numbers in np.array_split(self.held_out, max(1, len(self.held_out) // 16)):
            patches = np.concatenate([cut(self.cache.tile(n), 16, random) for n in numbers])
            with self.place.precision():
                embeddings = encoder(to_device(patches, self.place.device), [16] * len(numbers))
                outputs.append(heads(embeddings).float())
        return tag_accuracies(torch.cat(outputs), to_device(self.labels[self.held_out], self.place.device), self.tags)

    def _averaged(self) -> tuple[SdaieEncoder, ExifHeads]:
        model = PretextModel(self.tags).to(self.place.device)
        model.load_state_dict(self.average.weights)
        return model.encoder.eval(), model.heads.eval()

    def _export(self, accuracies: dict[str, dict[str, float]]) -> None:
        recipe = {key: value for key, value in asdict(self.run).items() if key not in ("data", "out", "cache", "name")}
        tiles = self.cache.tiles
        training = {
            "data": self.run.data.name,
            "photographs": {
                "fit": len(_one_per_photograph([tiles[n] for n in self.fit])),
                "held_out": len(_one_per_photograph([tiles[n] for n in self.held_out])),
            },
            "steps": self.budget.step,
            "patch_passes": self.patch_passes,
            "minutes": round(self.budget.seconds / 60, 1),
            "device": self.place.description,
            "recipe": recipe | {"average": self.average.decay, "all_tokens": True, "patch_heads": True},
            "held_out": accuracies,
        }
        export_encoder(self.run.out, *self._averaged(), self.tags, self.run.name, training)

    def _save(self) -> None:
        if self.place.is_first:
            state = {
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": self.average.weights,
                "step": self.budget.step,
                "seconds": self.budget.seconds,
                "tags": [asdict(tag) | {"classes": list(tag.classes)} for tag in self.tags],
            }
            save_checkpoint(self.run.out / "checkpoint.pt", state)

    def _resume(self) -> None:
        path = self.run.out / "checkpoint.pt"
        if not path.exists():
            return
        state = load_checkpoint(path, self.place.device)
        if tuple(Tag(t["name"], t["kind"], tuple(t["classes"])) for t in state["tags"]) != self.tags:
            raise ValueError(f"{path} was trained on other tags: choose another output folder")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.weights = state["average"]
        self.budget.step, self.budget.seconds = state["step"], state["seconds"]


def _one_per_photograph(tiles: Sequence[Tile]) -> list[Tile]:
    return list({tile.photograph: tile for tile in tiles}.values())


def main() -> None:
    """Command line: every field of `EncoderTraining` is an option."""
    parser = argparse.ArgumentParser(description="Train the SDAIE encoder on photographs with EXIF.")
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs, with or without manifest.csv")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint, log and exported weights go here")
    parser.add_argument("--cache", type=Path, help="decoded tiles go here [OUT/cache]")
    parser.add_argument("--name", default=EncoderTraining.name)
    parser.add_argument("--minutes", type=float, default=EncoderTraining.minutes)
    parser.add_argument("--steps", type=int, help="instead of --minutes")
    parser.add_argument("--images", type=int, default=EncoderTraining.images, help="images in a batch of one process")
    parser.add_argument("--patches", type=int, default=EncoderTraining.patches, help="patches of each image")
    parser.add_argument("--learning-rate", type=float, default=EncoderTraining.learning_rate)
    parser.add_argument("--degraded", type=float, default=EncoderTraining.degraded, help="share of degraded images")
    parser.add_argument("--seed", type=int, default=EncoderTraining.seed)
    train_encoder(EncoderTraining(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
