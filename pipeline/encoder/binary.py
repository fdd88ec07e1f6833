"""Train the binary detector (sdaie section 6): real or AI, kept close to what the pretext task learned.

Loss: cross-entropy + 0.05 x the sum of mean-squared distances between its features and the frozen, EXIF-trained
encoder's after stages 2, 3, 4, 5 and after second-order pooling.

Both classes are saved as JPEG at one random quality before patches are cut, whatever they came as: cameras write JPEG
and generators PNG, and a network told them apart by that. (The paper re-encodes one image in four, at 90-100.)
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.encoder.data import Pixels, TileCache, balanced_weights, blur, cut, jpeg, resize_down, turn
from pipeline.encoder.export import export_binary, load_exported_encoder
from pipeline.encoder.heads import StandardisedHeads
from pipeline.encoder.loop import Batch, Schedule, Weights, fit, random_for
from pipeline.encoder.network import BinaryDetector, SdaieEncoder
from pipeline.encoder.place import Workplace, workplace
from pipeline.encoder.start import start_binary, training_before

REGULARISER = 0.05
EVALUATED_PATCHES = 12
JPEG_QUALITIES = range(75, 99)
COMMON_QUALITY = 90
"""At which held-out images of both classes are saved again before they are compared."""


@dataclass(frozen=True)
class BinaryTraining:
    """One training run; the defaults are the recipe of the shipped detector."""

    data: Path
    """Photographs."""
    ai: Path
    """Generated images."""
    encoder: Path
    """Release folder with the EXIF-trained encoder."""
    out: Path
    name: str = "sdaie-small"
    cache: Path | None = None
    images: int = 32
    """Images in a batch of one process, half of each class."""
    patches: int = 6
    resized: float = 0.3
    """Share of images made smaller, x0.5-1."""
    blurred: float = 0.1
    turned: bool = True
    """Whether images are turned by quarters and mirrored at random: what no camera formed is that in all eight ways."""
    seed: int = 0
    init: Path | None = None
    """Release folder whose binary detector the run starts from; random weights if None."""
    schedule: Schedule = field(default_factory=lambda: Schedule(minutes=18, learning_rate=1e-3))


class BinaryModel(nn.Module):
    """Encoder and read-out, and a second read-out on each patch's covariance feature (training only)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = SdaieEncoder()
        self.fc, self.patch_fc = StandardisedHeads([2]), StandardisedHeads([2])

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """uint8 (B, T, 64, 64, 3) -> logits of every token and of every patch alone (B, T, 2), and the activations."""
        activations = self.encoder.trunk.activations(patches.flatten(0, 1))
        features = activations[-1].unflatten(0, patches.shape[:2])  # (B, T, 528)
        return self.fc(self.encoder.mix(features)), self.patch_fc(features), activations

    def detector(self) -> BinaryDetector:
        """What is served."""
        detector = BinaryDetector()
        detector.encoder.load_state_dict(self.encoder.state_dict())
        detector.fc.load_state_dict(self.fc.folded().heads[0].state_dict())
        return detector.eval()


class _Class:
    """The images of one class: what is drawn from them, and what is kept out."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.cache = TileCache(folder, cache)
        tiles = self.cache.tiles
        self.fit = [n for n, tile in enumerate(tiles) if not tile.held_out]
        self.held_out = [n for n, tile in enumerate(tiles) if tile.held_out]
        self.weights = balanced_weights([tiles[n] for n in self.fit])

    def draw(self, count: int, random: np.random.Generator) -> list[Pixels]:
        return [self.cache.tile(n) for n in random.choice(self.fit, count, p=self.weights)]

    def facts(self) -> dict[str, int]:
        images = {kind: {self.cache.tiles[n].photograph for n in getattr(self, kind)} for kind in ("fit", "held_out")}
        return {kind: len(names) for kind, names in images.items()}


class BinaryTask:
    """`loop.Task` of the binary detector."""

    name = "binary"

    def __init__(self, run: BinaryTraining, place: Workplace) -> None:
        self.run, self.place = run, place
        cache = run.cache or run.out / "cache"
        with place.first_alone():
            self.real, self.ai = _Class(run.data, cache), _Class(run.ai, cache)
        self.reference: SdaieEncoder = load_exported_encoder(run.encoder)[0].to(place.device).requires_grad_(False)
        self.patches_per_batch = run.images * run.patches
        paths = ("data", "ai", "encoder", "out", "cache", "name", "init")
        self.recipe = {key: value for key, value in asdict(run).items() if key not in paths}
        self.facts = {run.data.name: self.real.facts(), run.ai.name: self.ai.facts()}
        same = {key: value for key, value in self.recipe.items() if key != "schedule"}  # a run may be given more time
        self.identity: dict[str, Any] = {"network": "binary", "recipe": same, "data": self.facts}
        torch.manual_seed(run.seed)
        model = BinaryModel()
        self.before: dict[str, Any] = {}
        if run.init:
            self.before = training_before(run.init, "binary")
            self.identity |= self.before  # a run from random weights is another one
            start_binary(model.encoder, model.fc, run.init, torch.from_numpy(self.batch(0)[0]))
        self.model: nn.Module = model

    def batch(self, step: int) -> Batch:
        """uint8 (B, T, 64, 64, 3) and classes (B,): 0 real, 1 AI."""
        random = random_for(self.run.seed, self.place, step)
        half = self.run.images // 2
        images = self.real.draw(half, random) + self.ai.draw(half, random)
        patches = [cut(self._augment(pixels, random), self.run.patches, random) for pixels in images]
        return np.stack(patches), np.repeat(np.array([0, 1]), half)

    def _augment(self, pixels: Pixels, random: np.random.Generator) -> Pixels:
        if self.run.turned:
            pixels = turn(pixels, random)
        if random.random() < self.run.resized:
            pixels = resize_down(pixels, random)
        if random.random() < self.run.blurred:
            pixels = blur(pixels, random)
        return jpeg(pixels, int(random.choice(JPEG_QUALITIES)))

    def losses(self, model: nn.Module, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        patches, classes = batch
        with self.place.precision():
            on_tokens, on_patches, activations = model(patches)
            with torch.no_grad():
                wanted = self.reference.trunk.activations(patches.flatten(0, 1))
        targets = classes.repeat_interleave(patches.shape[1])
        distances = [F.mse_loss(ours.float(), theirs.float()) for ours, theirs in zip(activations, wanted, strict=True)]
        return {
            "tokens": F.cross_entropy(on_tokens.flatten(0, 1), targets),
            "patches": F.cross_entropy(on_patches.flatten(0, 1), targets),
            "distance": REGULARISER * torch.stack(distances).sum(),
        }

    def evaluate(self, weights: Weights) -> dict[str, Any]:
        """AUROC on held-out photographs and generators, as found and after one common re-encoding."""
        if not (self.real.held_out and self.ai.held_out):
            return {}
        detector = self._with(weights)
        figures = {}
        for condition, quality in (("as_found", None), ("reencoded", COMMON_QUALITY)):
            real, ai = (self._probabilities(detector, side, quality) for side in (self.real, self.ai))
            figures[condition] = {"auroc": round(auroc(real, ai), 4), "real": len(real), "ai": len(ai)}
        return figures

    @torch.inference_mode()
    def _probabilities(self, detector: BinaryDetector, side: _Class, quality: int | None) -> npt.NDArray[np.float64]:
        """Of AI, for the first tile of each held-out image."""
        random = np.random.default_rng(self.run.seed)
        probabilities = []
        for number in {side.cache.tiles[n].photograph: n for n in reversed(side.held_out)}.values():
            pixels = side.cache.tile(number)
            pixels = pixels if quality is None else jpeg(pixels, quality)
            patches = torch.from_numpy(cut(pixels, EVALUATED_PATCHES, random)).to(self.place.device)
            with self.place.precision():
                probabilities.append(float(detector(patches, [EVALUATED_PATCHES])))
        return np.array(probabilities)

    def export(self, weights: Weights, facts: dict[str, Any]) -> None:
        training = {
            "data": self.facts,
            "recipe": self.recipe
            | {
                "regulariser": REGULARISER,
                "jpeg_qualities_of_both_classes": [JPEG_QUALITIES[0], JPEG_QUALITIES[-1]],
                "every_token_is_a_read_out": True,
                "read_out_on_patches": True,
            },
            **self.before,
            **facts,
        }
        export_binary(self.run.out, self._with(weights), self.run.name, training)

    def _with(self, weights: Weights) -> BinaryDetector:
        model = BinaryModel().to(self.place.device)
        model.load_state_dict(weights)
        return model.eval().detector().to(self.place.device)


def auroc(
    negative: Sequence[float] | npt.NDArray[np.float64], positive: Sequence[float] | npt.NDArray[np.float64]
) -> float:
    """Chance that a positive scores above a negative; ties count half."""
    difference = np.subtract.outer(np.asarray(positive), np.asarray(negative))
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def train_binary(run: BinaryTraining) -> None:
    """Train, or go on training, and export binary.safetensors and binary.json to `run.out`."""
    run.out.mkdir(parents=True, exist_ok=True)
    with workplace() as place:
        fit(BinaryTask(run, place), run.schedule, run.out, place)
