"""Which form of the trunk is served, and that each gives the network's features."""

import pytest
import torch

from pipeline.encoder import fast, kernel
from pipeline.encoder.fast import HalfTrunk, fast_trunk
from pipeline.encoder.kernel import KernelTrunk
from pipeline.encoder.network import SdaieEncoder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trunk():
    torch.manual_seed(0)
    return SdaieEncoder().trunk.eval()


@pytest.fixture(scope="module")
def patches():
    return torch.randint(0, 256, (9, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@torch.inference_mode()
def test_eager_equals_the_network_over_several_chunks(trunk, patches):
    torch.testing.assert_close(fast_trunk(trunk, CPU, "eager")(patches), trunk(patches), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_half_precision_is_close(trunk, patches, dtype, limit):
    """On the CPU here; a GPU rounds the same way."""
    expected = trunk(patches[:3])
    error = (HalfTrunk(trunk, dtype)(patches[:3]) - expected).norm() / expected.norm()
    assert 0 < error < limit


def test_a_cpu_gets_the_kernel_where_it_was_built(trunk, monkeypatch):
    if kernel.available():
        assert isinstance(fast_trunk(trunk, CPU), KernelTrunk)
    monkeypatch.setattr(fast.kernel, "available", lambda: False)
    assert not isinstance(fast_trunk(trunk, CPU), KernelTrunk)


def test_a_kernel_that_was_asked_for_and_is_missing_is_an_error(trunk, monkeypatch):
    monkeypatch.setattr(kernel, "_library", lambda: None)
    with pytest.raises(RuntimeError, match="not compiled for this CPU"):
        fast_trunk(trunk, CPU, "kernel")
