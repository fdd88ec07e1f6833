"""The linear read-outs as they are trained; exported, they are plain ones."""

from collections.abc import Iterable

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
