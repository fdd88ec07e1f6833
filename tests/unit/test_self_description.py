"""Self-descriptions: what the coefficients are, and what they do not depend on."""

import numpy as np
import pytest

from pipeline.self_description import DIMENSIONS, PAIRS, describe

HALF = DIMENSIONS // 2


def grey(plane: np.ndarray) -> np.ndarray:
    """(n, 64, 64) -> uint8 (n, 64, 64, 3)."""
    return np.repeat(np.clip(np.round(plane), 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def noise(count: int, seed: int = 0, deviation: float = 20) -> np.ndarray:
    return 128 + deviation * np.random.default_rng(seed).normal(size=(count, 64, 64))


def averaged(count: int, seed: int = 0) -> np.ndarray:
    """Every second row lies halfway between the rows three above and three below."""
    plane = noise(count, seed)
    plane[:, 3:-3:2] = (plane[:, :-6:2] + plane[:, 6::2]) / 2
    return plane


def green(description: np.ndarray) -> dict[tuple[int, int], float]:
    """Mean coefficient of each pair of neighbours."""
    return dict(zip(PAIRS, description[: len(PAIRS)].tolist(), strict=True))


def test_interpolation_is_read_off_the_coefficients():
    found = green(describe(grey(averaged(8))))  # the predicted rows are those that were averaged
    assert found[3, 0] == pytest.approx(0.5, abs=0.01)
    assert max(abs(value) for pair, value in found.items() if pair != (3, 0)) < 0.02


def test_noise_follows_from_nothing():
    description = describe(grey(noise(16)))
    assert description.shape == (DIMENSIONS,)
    assert description.dtype == np.float32
    assert np.abs(description[:HALF]).max() < 0.02


def test_patches_formed_alike_deviate_less_than_patches_formed_differently():
    alike, mixed = averaged(8), np.concatenate([averaged(4), noise(4, seed=1)])
    column = HALF + PAIRS.index((3, 0))
    assert describe(grey(alike))[column] < 0.01 < 0.2 < describe(grey(mixed))[column]


def test_brightness_does_not_matter_nor_does_the_order_of_patches():
    plane = averaged(8)
    description = describe(grey(plane))
    np.testing.assert_allclose(describe(grey(plane + 20)), description, atol=0.01)
    np.testing.assert_allclose(describe(grey(plane[::-1])), description, atol=1e-6)


@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_patch_without_detail_describes_nothing(level):
    assert not describe(np.full((2, 64, 64, 3), level, np.uint8)).any()
