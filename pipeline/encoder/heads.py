"""The linear read-outs as they are trained; exported, they are plain ones."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from pipeline.encoder.network import DIMENSIONS, ExifHeads


class StandardisedHeads(nn.Module):
    """`ExifHeads` on features brought to zero mean and a deviation of 0.1 over the batch, which they learn faster on.

    Not 1: a step of Adam moves all 528 weights alike, and would shake the outputs more than it teaches.
    `folded` is the same function as plain heads, so what is exported is the paper's network.
    """

    deviation = 0.1

    def __init__(self, sizes: Iterable[int]) -> None:
        super().__init__()
        self.standard = nn.BatchNorm1d(DIMENSIONS, affine=False)
        self.heads = ExifHeads(sizes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, 528) -> (B, T, K)."""
        standardised: Tensor = self.deviation * self.standard(features.float().flatten(0, 1))
        outputs: Tensor = self.heads(standardised)
        return outputs.float().unflatten(0, features.shape[:2])

    @torch.no_grad()
    def folded(self) -> ExifHeads:
        """Plain heads that give, on raw features, what these give in evaluation mode."""
        statistics, heads = self.standard.state_dict(), self.heads.state_dict()
        mean = statistics["running_mean"]
        scale = self.deviation * (statistics["running_var"] + self.standard.eps).rsqrt()
        for weight in [name for name in heads if name.endswith("weight")]:
            bias = weight.removesuffix("weight") + "bias"
            heads[weight] = heads[weight] * scale
            heads[bias] = heads[bias] - heads[weight] @ mean
        plain = ExifHeads(self.heads.sizes).to(mean.device)
        plain.load_state_dict(heads)
        return plain

    @torch.no_grad()
    def take_over(self, plain: Sequence[nn.Linear | None], features: Tensor) -> None:
        """Become plain heads on features distributed like `features` (N, 528), the inverse of `folded`; in place.

        None leaves a head as it is.
        """
        mean, variance = features.float().mean(0), features.float().var(0)
        statistics = self.standard.state_dict()  # shares memory with the buffers
        statistics["running_mean"].copy_(mean)
        statistics["running_var"].copy_(variance)
        scale = self.deviation * (variance + self.standard.eps).rsqrt()
        for head, old in zip(self.heads.heads, plain, strict=True):
            if old is not None:
                weight, bias = head.parameters()
                weight.copy_(old.weight / scale)
                bias.copy_(old.bias + old.weight @ mean)


class PlainHeads(nn.Module):
    """The read-outs of the paper, with what `StandardisedHeads` can be asked for."""

    def __init__(self, sizes: Iterable[int]) -> None:
        super().__init__()
        self.heads = ExifHeads(sizes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, 528) -> (B, T, K)."""
        return self.heads(features.float()).float()

    def folded(self) -> ExifHeads:
        """What is exported."""
        return self.heads

    @torch.no_grad()
    def take_over(self, plain: Sequence[nn.Linear | None], features: Tensor) -> None:
        """Become `plain`, in place; None leaves a head as it is, and features don't matter."""
        del features
        for head, old in zip(self.heads.heads, plain, strict=True):
            if old is not None:
                head.load_state_dict(old.state_dict())


TrainedHeads = StandardisedHeads | PlainHeads


@torch.no_grad()
def start_at(heads: TrainedHeads, frequencies: Sequence[Tensor | None]) -> None:
    """Set the biases of class heads to the log of their classes' `frequencies`, in place; None leaves a head alone."""
    for head, shares in zip(heads.heads.heads, frequencies, strict=True):
        if shares is not None:
            _, bias = head.parameters()
            bias.copy_(shares.clamp_min(1e-4).log())


@torch.no_grad()
def first_heads(heads: ExifHeads, count: int) -> ExifHeads:
    """The first `count` of them: those that are exported."""
    kept = ExifHeads(heads.sizes[:count])
    kept.heads.load_state_dict(heads.heads[:count].state_dict())
    return kept
