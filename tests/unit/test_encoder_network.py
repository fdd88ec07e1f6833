"""The SDAIE network: shapes, the folded stem, second-order pooling, ragged batches."""

import pytest
import torch
from torch.nn import functional as F

from pipeline.encoder.network import (
    BinaryDetector,
    ExifHeads,
    SdaieEncoder,
    covariance_features,
    matrix_square_root,
    normalise,
)
from pipeline.highpass import residuals


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(3)
    encoder = SdaieEncoder()
    with torch.no_grad():  # the norms start as the identity, which would hide a mistake in their order
        for name, value in encoder.named_parameters():
            if "norm" in name:
                value.add_(0.1 * torch.randn_like(value))
    return encoder.eval()


def patches(count, seed=0):
    return torch.randint(0, 256, (count, 64, 64, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_number_of_parameters_is_the_papers():
    fixed_filters = 30 * 25
    assert sum(p.numel() for p in SdaieEncoder().parameters()) + fixed_filters == 2_149_198


def test_stem_reads_the_reference_residuals(encoder):
    pixels = normalise(patches(1))
    bank = torch.from_numpy(residuals(pixels[0].permute(1, 2, 0).numpy()))
    expected = F.conv2d(bank[None], encoder.trunk.stem.conv.weight, encoder.trunk.stem.conv.bias, padding=1)
    torch.testing.assert_close(encoder.trunk.stem._plain(pixels), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_folded_stem_equals_the_plain_one_everywhere(encoder):
    pixels = normalise(patches(4))
    stem = encoder.trunk.stem
    torch.testing.assert_close(stem._folded(pixels), stem._plain(pixels), atol=1e-5, rtol=1e-5)
    without_the_ring = F.conv2d(pixels, stem.kernel_7x7(), stem.conv.bias, padding=3)
    assert (without_the_ring - stem._plain(pixels)).abs().max() > 0.1  # so the correction is needed


def test_folded_stem_has_the_same_gradients(encoder):
    pixels, stem = normalise(patches(2)), encoder.trunk.stem
    weights = torch.randn(2, 32, 64, 64, generator=torch.Generator().manual_seed(1))
    gradients = []
    for form in (stem._plain, stem._folded):
        (form(pixels) * weights).sum().backward()
        gradients.append(stem.conv.weight.grad.clone())
        stem.zero_grad()
    torch.testing.assert_close(*gradients, atol=1e-2, rtol=1e-3)  # sums of 8192 products of about 10


def test_matrix_square_root():
    half = torch.randn(5, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrices = (half @ half.mT + torch.eye(8)).float()
    root = matrix_square_root(matrices, iterations=12)
    torch.testing.assert_close(root @ root, matrices, atol=1e-3, rtol=1e-3)


def test_five_iterations_are_the_papers_approximation():
    quarter = torch.full((1, 1, 1), 1.0)
    torch.testing.assert_close(matrix_square_root(4 * quarter), 2 * quarter)
    uneven = torch.diag_embed(torch.tensor([[1.0, 1e-4]]))
    assert matrix_square_root(uneven)[0, 1, 1] < 0.9e-2  # the small root is not reached in five


def test_covariance_is_of_the_maps_without_their_mean():
    maps = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(0))
    shifted = maps + torch.arange(32.0).view(1, 32, 1, 1)
    assert covariance_features(maps).shape == (2, 528)
    torch.testing.assert_close(covariance_features(shifted), covariance_features(maps), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(covariance_features(3 * maps), 3 * covariance_features(maps), atol=1e-4, rtol=1e-4)


def test_flat_patches_give_finite_features_and_gradients():
    network = SdaieEncoder()
    flat = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    features = network.forward_patches(flat)
    features.sum().backward()
    assert features.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@torch.inference_mode()
def test_an_image_does_not_depend_on_its_neighbours(encoder):
    lengths = [3, 1, 7]
    together = patches(sum(lengths))
    embeddings = encoder(together, lengths)
    assert embeddings.shape == (3, 528)
    for alone, embedding in zip(together.split(lengths), embeddings, strict=True):
        torch.testing.assert_close(encoder(alone, [len(alone)])[0], embedding, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_every_token_is_a_read_out_and_order_says_nothing_else(encoder):
    features = torch.randn(1, 6, 528, generator=torch.Generator().manual_seed(0))
    everything = encoder.mix(features)
    rolled = features.roll(-2, dims=1)  # token 2 comes first
    torch.testing.assert_close(encoder.mix(rolled, queries=1)[:, 0], everything[:, 2], atol=1e-5, rtol=1e-5)


def test_heads_stand_side_by_side_in_order():
    heads = ExifHeads([1, 7, 2])
    features = torch.randn(4, 528)
    outputs = heads(features)
    assert outputs.shape == (4, 10)
    torch.testing.assert_close(outputs[:, 1:8], heads.heads[1](features))


@torch.inference_mode()
def test_binary_probability_is_of_the_second_class():
    torch.manual_seed(0)
    detector = BinaryDetector().eval()
    detector.fc.weight.zero_()
    detector.fc.bias.copy_(torch.tensor([0.0, 2.0]))
    assert detector(patches(2), [2]).item() == pytest.approx(0.8808, abs=1e-4)
