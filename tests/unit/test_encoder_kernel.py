"""The compiled trunk equals the network that it stands for."""

import pytest
import torch

from pipeline.encoder import kernel
from pipeline.encoder.kernel import KernelTrunk
from pipeline.encoder.network import SdaieEncoder

pytestmark = pytest.mark.skipif(not kernel.available(), reason="trunk.c was not compiled for this CPU")


@pytest.fixture(scope="module")
def trunk():
    torch.manual_seed(3)
    trunk = SdaieEncoder().trunk
    with torch.no_grad():  # biases and norms start as zero and identity, which would hide a mistake in their order
        for name, value in trunk.named_parameters():
            if "norm" in name or "bias" in name:
                value.add_(0.3 * torch.randn_like(value))
    return trunk.eval()


def patches(count, seed=0):
    """Noise on a slope: the edges of a patch differ from one another."""
    noise = torch.randint(-20, 20, (count, 64, 64, 3), generator=torch.Generator().manual_seed(seed))
    return (torch.linspace(30, 220, 64 * 64 * 3).view(64, 64, 3) + noise).clamp(0, 255).to(torch.uint8)


@torch.inference_mode()
def test_equals_the_plain_network(trunk):
    batch = patches(5)
    *_, maps, features = trunk.activations(batch, folded=False)
    fast = KernelTrunk(trunk)
    torch.testing.assert_close(fast.maps(batch), maps, atol=2e-5, rtol=1e-4)
    error = (fast(batch) - features).norm() / features.norm()
    assert error < 2e-5


@torch.inference_mode()
def test_every_edge_of_the_patch_is_the_plain_networks(trunk):
    """One bright pixel at each corner and edge: what the residual bank sees outside the patch must not count."""
    batch = torch.full((8, 64, 64, 3), 128, dtype=torch.uint8)
    places = [(0, 0), (0, 31), (0, 63), (31, 0), (31, 63), (63, 0), (63, 31), (63, 63)]
    for patch, (row, column) in zip(batch, places, strict=True):
        patch[row, column] = torch.tensor([255, 200, 60], dtype=torch.uint8)
    expected = trunk.activations(batch, folded=False)[-2]
    torch.testing.assert_close(KernelTrunk(trunk).maps(batch), expected, atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_flat_patches_are_finite(trunk):
    assert KernelTrunk(trunk)(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)).isfinite().all()


def test_a_patch_does_not_depend_on_its_neighbours_nor_on_threads(trunk):
    batch = patches(9)
    together = KernelTrunk(trunk, threads=1).maps(batch)
    assert torch.equal(KernelTrunk(trunk, threads=3).maps(batch), together)
    assert torch.equal(KernelTrunk(trunk, threads=1).maps(batch[5:6]), together[5:6])


def test_weights_that_are_not_numbers_are_not_hidden(trunk):
    broken = SdaieEncoder().trunk
    with torch.no_grad():
        broken.stage3.convs[1].weight[0, 0, 0, 0] = torch.nan
    assert not KernelTrunk(broken)(patches(1)).isfinite().any()


def test_refuses_other_shapes(trunk):
    with pytest.raises(ValueError, match="expected uint8"):
        KernelTrunk(trunk)(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
