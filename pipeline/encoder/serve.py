"""The two networks as a server calls them: images in, records out. Used by the Triton model and by `lenswatch score`.

On a CPU in fp32, so that the score of an image is the same whoever computes it and whatever else is in the batch.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.encoder.export import load_exported_binary, load_exported_encoder
from pipeline.encoder.fast import PatchFeatures, choose, fast_trunk
from pipeline.encoder.network import BinaryDetector, ExifHeads, SdaieEncoder
from pipeline.encoder.pretext import Tag
from pipeline.records import EncoderOutput
from pipeline.settings import TrunkKind
from pipeline.windows import windows

Pixels = npt.NDArray[np.uint8]


class SdaieRunner:
    """The encoder with its EXIF heads. Thread-safe: nothing is changed by a call."""

    def __init__(
        self,
        encoder: SdaieEncoder,
        heads: ExifHeads,
        tags: tuple[Tag, ...],
        device: torch.device,
        trunk: TrunkKind = "auto",
        threads: int | None = None,
    ) -> None:
        """`trunk`, `threads`: see `fast_trunk`."""
        self._encoder, self._heads, self._device = encoder.to(device).eval(), heads.to(device).eval(), device
        self._trunk = fast_trunk(self._encoder.trunk, device, trunk, threads)
        self.tags = tags

    @torch.inference_mode()
    def embed(self, patches: Sequence[Pixels]) -> list[EncoderOutput]:
        """One output per image; `patches` are uint8 RGB (n, 64, 64, 3), n >= 1 and free to differ."""
        if not patches:
            return []
        lengths = _lengths(patches)
        features = _patch_features(self._trunk, patches, self._device)
        embeddings = _read(self._encoder, features, lengths)
        exif = self._heads(embeddings).cpu().numpy()
        per_image = features.cpu().split(lengths)
        return [
            EncoderOutput(embedding, of_patches.numpy(), outputs)
            for embedding, of_patches, outputs in zip(embeddings.cpu().numpy(), per_image, exif, strict=True)
        ]


class BinaryRunner:
    """The binary detector. Thread-safe."""

    def __init__(
        self, detector: BinaryDetector, device: torch.device, trunk: TrunkKind = "auto", threads: int | None = None
    ) -> None:
        """`trunk`, `threads`: see `fast_trunk`."""
        self._detector, self._device = detector.to(device).eval(), device
        self._trunk = fast_trunk(self._detector.encoder.trunk, device, trunk, threads)

    @torch.inference_mode()
    def probability(self, patches: Sequence[Pixels]) -> list[float]:
        """Probability in [0, 1] that each image is AI-generated; `patches` as for `SdaieRunner.embed`."""
        if not patches:
            return []
        lengths = _lengths(patches)
        features = _patch_features(self._trunk, patches, self._device)
        logits: Tensor = self._detector.fc(_read(self._detector.encoder, features, lengths))
        return [float(p) for p in logits.softmax(1)[:, 1]]


def load_encoder(
    release: Path, device: str = "cpu", trunk: TrunkKind = "auto", threads: int | None = None
) -> SdaieRunner:
    """The encoder of a release folder (encoder.safetensors, encoder.json). Raises FileNotFoundError without one."""
    _leave_cores_to_the_kernel(torch.device(device), trunk)
    return SdaieRunner(*load_exported_encoder(release), torch.device(device), trunk, threads)


def load_binary(
    release: Path, device: str = "cpu", trunk: TrunkKind = "auto", threads: int | None = None
) -> BinaryRunner:
    """The binary detector of a release folder (binary.safetensors)."""
    _leave_cores_to_the_kernel(torch.device(device), trunk)
    return BinaryRunner(load_exported_binary(release), torch.device(device), trunk, threads)


def _leave_cores_to_the_kernel(device: torch.device, trunk: TrunkKind) -> None:
    """PyTorch has little to do beside it, and its threads spin while they wait (355 ms an image instead of 238)."""
    if choose(device, trunk) == "kernel":
        torch.set_num_threads(1)


def _lengths(patches: Sequence[Pixels]) -> list[int]:
    lengths = [len(image) for image in patches]
    if min(lengths) < 1:
        raise ValueError("an image without patches can't be scored")
    return lengths


def _read(encoder: SdaieEncoder, features: Tensor, lengths: list[int]) -> Tensor:
    """(N, 528) patches of B images -> their read-outs, (B, 528): of each image the mean over `windows`, where the paper
    looks at all patches at once. What follows is linear, so log-odds and EXIF outputs are means over windows, too."""
    seen = [[image[window] for window in windows(len(image))] for image in features.split(lengths)]
    every = [window for image in seen for window in image]
    read = encoder.forward_tokens(torch.cat(every), [len(window) for window in every])
    return torch.stack([of_image.mean(0) for of_image in read.split([len(image) for image in seen])])


def _patch_features(trunk: PatchFeatures, patches: Sequence[Pixels], device: torch.device) -> Tensor:
    """(N, 528) of all patches of all images, one after another."""
    alone = len(patches) == 1 and patches[0].flags.writeable  # torch warns of arrays that it could not write to
    return trunk(torch.from_numpy(patches[0] if alone else np.concatenate(patches)).to(device))
