"""The SDAIE network (Zhong et al., TPAMI, arXiv 2512.05651): residuals -> trunk -> second-order pooling -> transformer.

Shapes in the comments: N patches (of all images of a batch together), B images, T patches of one image,
C = 32 channels, D = 528 = 32 * 33 / 2 numbers that describe a patch.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.highpass import BANK

PATCH = 64
CHANNELS = 32
DIMENSIONS = CHANNELS * (CHANNELS + 1) // 2
HEADS, HEAD_WIDTH, MLP_WIDTH, BLOCKS = 4, 16, 128, 2

PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


class PlaneNorm(nn.Module):
    """Layer normalisation over a whole (C, S, S) map, computed in channels-last order (the fast one here)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(CHANNELS, size, size))
        self.bias = nn.Parameter(torch.zeros(CHANNELS, size, size))

    def forward(self, maps: Tensor) -> Tensor:
        weight, bias = (p.permute(1, 2, 0) for p in (self.weight, self.bias))  # (S, S, C)
        last = maps.permute(0, 2, 3, 1)  # (N, S, S, C)
        return F.layer_norm(last, weight.shape, weight, bias).permute(0, 3, 1, 2)


class ResidualStem(nn.Module):
    """Stage 1: SRM residuals of each colour (5x5, fixed), then a learned 3x3 convolution, norm and clip.

    The two convolutions in a row are one 7x7 convolution, except on the outermost ring of pixels: there the plain
    network sees zeros *between* the two, the 7x7 kernel sees the bank's response outside the patch. `folded`
    subtracts that response again, so both forms are equal (about 1e-6) and it needs a sixth of the arithmetic.
    """

    bank: Tensor
    shifted_bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        bank = torch.from_numpy(BANK.copy())  # (30, 5, 5)
        shifted = torch.zeros(len(BANK), 3, 3, 7, 7)
        for row in range(3):
            for column in range(3):
                shifted[:, row, column, row : row + 5, column : column + 5] = bank
        self.register_buffer("bank", bank.repeat(3, 1, 1).unsqueeze(1), persistent=False)  # (90, 1, 5, 5)
        self.register_buffer("shifted_bank", shifted.view(-1, 49), persistent=False)  # (30 * 3 * 3, 7 * 7)
        self.conv = nn.Conv2d(3 * len(BANK), CHANNELS, 3, padding=1)
        self.norm = PlaneNorm(PATCH)

    def forward(self, pixels: Tensor, *, folded: bool) -> Tensor:
        """(N, 3, 64, 64) normalised pixels -> (N, 32, 64, 64) within [-5, 5]."""
        maps = self._folded(pixels) if folded else self._plain(pixels)
        return self.norm(maps).clamp(-5, 5)

    def _plain(self, pixels: Tensor) -> Tensor:
        residuals = F.conv2d(pixels, self.bank, padding=2, groups=3)  # (N, 90, 64, 64)
        maps: Tensor = self.conv(residuals)
        return maps

    def _folded(self, pixels: Tensor) -> Tensor:
        kernel = self.kernel_7x7()
        maps = F.conv2d(pixels, kernel, self.conv.bias, padding=3)  # (N, 32, 64, 64)
        corrected: Tensor = _SubtractFromRing.apply(maps, *self._ring(pixels))
        return corrected

    def kernel_7x7(self) -> Tensor:
        """Bank and convolution as one kernel (32, 3, 7, 7), differentiable in the convolution's weights."""
        weight = self.conv.weight.unflatten(1, (3, len(BANK))).flatten(2)  # (32, 3, 30 * 3 * 3)
        return (weight @ self.shifted_bank).unflatten(2, (7, 7))

    def _ring(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the bank's response one pixel outside the patch adds to the outermost rows and columns.

        Rows carry the corners. Two pixels deep is all that a 5x5 filter centred outside still reaches.
        """
        bank, weight = self.bank, self.conv.weight

        def row(strip: Tensor, taps: Tensor, edge: Tensor) -> Tensor:  # -> (N, 32, 1, 64)
            return F.conv2d(F.conv2d(strip, taps, padding=(0, 3), groups=3), edge)

        def column(strip: Tensor, taps: Tensor, edge: Tensor) -> Tensor:  # -> (N, 32, 64, 1)
            return F.conv2d(F.conv2d(strip, taps, padding=(2, 0), groups=3), edge, padding=(1, 0))

        return (
            row(pixels[:, :, :2], bank[:, :, 3:], weight[:, :, :1]),
            row(pixels[:, :, -2:], bank[:, :, :2], weight[:, :, -1:]),
            column(pixels[:, :, :, :2], bank[:, :, :, 3:], weight[:, :, :, :1]),
            column(pixels[:, :, :, -2:], bank[:, :, :, :2], weight[:, :, :, -1:]),
        )


class _SubtractFromRing(torch.autograd.Function):
    """maps minus something on its first and last row and column; in place, the map is the largest of the network."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
        ctx.mark_dirty(maps)
        maps[:, :, :1] -= top
        maps[:, :, -1:] -= bottom
        maps[:, :, :, :1] -= left
        maps[:, :, :, -1:] -= right
        return maps

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        (grad,) = gradients
        return grad, -grad[:, :, :1], -grad[:, :, -1:], -grad[:, :, :, :1], -grad[:, :, :, -1:]


class Stage(nn.Module):
    """`depth` times (3x3 convolution, plane norm, ReLU), then an average pool that halves the side."""

    def __init__(self, depth: int, size: int, *, pool: bool = True) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(depth))
        self.norms = nn.ModuleList(PlaneNorm(size) for _ in range(depth))
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if pool else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            maps = F.relu(norm(conv(maps)))
        pooled: Tensor = self.pool(maps)
        return pooled


class Trunk(nn.Module):
    """Per patch: residual stem, stages 2-5, covariance -> (N, 528)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ResidualStem()
        self.stage2 = Stage(4, 64)
        self.stage3 = Stage(2, 32)
        self.stage4 = Stage(2, 16)
        self.stage5 = Stage(2, 8, pool=False)

    def forward(self, patches: Tensor, *, folded: bool = True) -> Tensor:
        """uint8 (N, 64, 64, 3) RGB -> float32 (N, 528)."""
        return self.activations(patches, folded=folded)[-1]

    def activations(self, patches: Tensor, *, folded: bool = True) -> tuple[Tensor, ...]:
        """What comes out of stages 2, 3, 4, 5 and of the pooling (the binary detector is compared at these five)."""
        maps = self.stem(normalise(patches), folded=folded)  # (N, 32, 64, 64)
        two = self.stage2(maps)  # (N, 32, 32, 32)
        three = self.stage3(two)  # (N, 32, 16, 16)
        four = self.stage4(three)  # (N, 32, 8, 8)
        five = self.stage5(four)  # (N, 32, 8, 8)
        return two, three, four, five, covariance_features(five)  # last: (N, 528)


def normalise(patches: Tensor) -> Tensor:
    """uint8 (N, 64, 64, 3) -> float32 (N, 3, 64, 64) of about zero mean and unit deviation; channels last in memory."""
    mean, std = patches.new_tensor(PIXEL_MEAN, dtype=torch.float32), patches.new_tensor(PIXEL_STD, dtype=torch.float32)
    return ((patches.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def covariance_features(maps: Tensor) -> Tensor:
    """Second-order pooling: the upper triangle of the square root of the channels' covariance.

    (N, C, S, S) -> float32 (N, 528). Always in float32: half precision has too few digits for the iteration.
    """
    with torch.autocast(maps.device.type, enabled=False):
        samples = maps.float().flatten(2)  # (N, C, S*S)
        samples = samples - samples.mean(2, keepdim=True)
        covariance = samples @ samples.mT / samples.shape[2]  # (N, C, C)
        root = matrix_square_root(covariance)
        row, column = torch.triu_indices(CHANNELS, CHANNELS, device=maps.device)
        return root[:, row, column]


def matrix_square_root(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Newton-Schulz square root of positive semi-definite (N, C, C) (iSQRT-COV, Li et al., CVPR 2018)."""
    trace = matrices.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-12).view(-1, 1, 1)
    three = 3 * torch.eye(matrices.shape[1], device=matrices.device)
    step = (three - matrices / trace) / 2
    root, inverse = matrices / trace @ step, step
    for _ in range(iterations - 2):
        step = (three - inverse @ root) / 2
        root, inverse = root @ step, step @ inverse
    root = root @ (three - inverse @ root) / 2
    return root * trace.sqrt()


class Block(nn.Module):
    """Pre-norm transformer block: 4 heads of 16, then an MLP 528 -> 128 -> 528."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(DIMENSIONS)
        self.to_qkv = nn.Linear(DIMENSIONS, 3 * HEADS * HEAD_WIDTH, bias=False)
        self.to_out = nn.Linear(HEADS * HEAD_WIDTH, DIMENSIONS)
        self.mlp_norm = nn.LayerNorm(DIMENSIONS)
        self.mlp_in = nn.Linear(DIMENSIONS, MLP_WIDTH)
        self.mlp_out = nn.Linear(MLP_WIDTH, DIMENSIONS)

    def forward(self, tokens: Tensor, present: Tensor | None, queries: int | None = None) -> Tensor:
        """(B, T, 528) -> (B, T, 528), or (B, queries, 528): only the first `queries` tokens are computed."""
        heads = (HEADS, HEAD_WIDTH)
        normed = self.attention_norm(tokens)
        qkv = self.to_qkv(normed).chunk(3, dim=2)  # 3 x (B, T, 64)
        q, k, v = (part.unflatten(2, heads).transpose(1, 2) for part in qkv)  # (B, 4, T, 16)
        mixed = F.scaled_dot_product_attention(q[:, :, :queries], k, v, present)  # (B, 4, queries, 16)
        tokens = tokens[:, :queries] + self.to_out(mixed.transpose(1, 2).flatten(2))
        change: Tensor = self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(tokens))))
        return tokens + change


class SdaieEncoder(nn.Module):
    """The whole encoder: `forward_patches`, then `forward_tokens`."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk()
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))

    def forward_patches(self, patches: Tensor, *, folded: bool = True) -> Tensor:
        """uint8 (N, 64, 64, 3) RGB -> float32 (N, 528), one covariance feature per patch."""
        features: Tensor = self.trunk(patches, folded=folded)
        return features

    def forward_tokens(self, features: Tensor, lengths: Sequence[int]) -> Tensor:
        """(N, 528) patches of B images one after another, their `lengths` (sum N, each >= 1) -> (B, 528).

        Images may differ in their number of patches; what an image gets does not depend on its neighbours.
        The first patch of an image is its read-out.
        """
        tokens = nn.utils.rnn.pad_sequence(list(features.split(list(lengths))), batch_first=True)  # (B, T, 528)
        present = None
        if min(lengths) < max(lengths):
            count = torch.tensor(lengths, device=features.device)
            present = (torch.arange(tokens.shape[1], device=features.device) < count[:, None])[:, None, None]
        return self.mix(tokens, present, queries=1)[:, 0]

    def mix(self, tokens: Tensor, present: Tensor | None = None, queries: int | None = None) -> Tensor:
        """(B, T, 528) -> (B, queries or T, 528); `present` (B, 1, 1, T) is false where a token is padding.

        The blocks know no order, so every token is a valid read-out of its image.
        """
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, present, queries if index == len(self.blocks) - 1 else None)
        return tokens

    def forward(self, patches: Tensor, lengths: Sequence[int]) -> Tensor:
        """uint8 (N, 64, 64, 3) and patches per image -> image embeddings (B, 528)."""
        return self.forward_tokens(self.forward_patches(patches), lengths)


class ExifHeads(nn.Module):
    """One linear head per EXIF tag on a 528-feature; a head gives one rank score or its classes' logits."""

    def __init__(self, sizes: Iterable[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.heads = nn.ModuleList(nn.Linear(DIMENSIONS, size) for size in self.sizes)

    def forward(self, features: Tensor) -> Tensor:
        """(..., 528) -> (..., K): the outputs of all heads side by side, in tag order."""
        return torch.cat([head(features) for head in self.heads], -1)


class BinaryDetector(nn.Module):
    """The second detector: the same encoder, then 528 -> 2 (real, AI)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = SdaieEncoder()
        self.fc = nn.Linear(DIMENSIONS, 2)

    def forward(self, patches: Tensor, lengths: Sequence[int]) -> Tensor:
        """uint8 (N, 64, 64, 3) and patches per image -> probability of AI, (B,) in [0, 1]."""
        logits: Tensor = self.fc(self.encoder(patches, lengths))
        return logits.softmax(1)[:, 1]
