"""Fitting the read-out, weighing the opinions, and the folds of generators and phones nobody has seen."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.records import SELF_DESCRIPTION_DIM, DetectorOutput, EncoderOutput, Handling
from pipeline.release import Release
from pipeline.retrain.described import VERSIONS, Described, LabelledCrop, describe_crops
from pipeline.retrain.read_out import fit_weights, train_read_out
from pipeline.retrain.unseen import FAMILIES, evaluate_unseen, family_of, folds, photo_features
from pipeline.statistics import DIMENSIONS

GENERATORS = ("DALL-E 3", "gpt-image-2", "StyleGAN3", "FLUX.1-dev")
MAKES = ("apple", "google", "canon")


def made(count: int = 240) -> Described:
    """Statistics tell AI images by one column, soft ones by others; the network tells them itself, the embedding not.

    Of the 80 photographs and AI images held out, half weigh.
    """
    rng = np.random.default_rng(0)
    crops = tuple(
        LabelledCrop(
            pixels=np.zeros((64, 64, 3), np.uint8),
            is_ai=number % 2 == 1,
            photograph=f"image-{number}",
            source=f"source-{number % 24}",
            camera=GENERATORS[number // 2 % 4] if number % 2 else f"model-{number % 10}",
            make="" if number % 2 else MAKES[number // 2 % 3],
            held_out=number % 24 < 8,
            weighs=number % 24 < 4 or (number % 24 < 8 and number % 2 == 1),
        )
        for number in range(count)
    )
    is_ai = np.array([crop.is_ai for crop in crops])
    versions = len(VERSIONS)
    handling = np.zeros((count, versions), np.int64)
    handling[:, 2:] = rng.integers(0, len(Handling), (count, versions - 2))
    statistics = rng.normal(0, 1, (count, versions, DIMENSIONS)).astype(np.float32)
    statistics[..., 0] += 6 * is_ai[:, None]
    statistics[..., 1:40] += 4 * (handling == Handling.SOFT)[..., None]
    network = np.clip(0.3 + 0.3 * is_ai[:, None] + rng.normal(0, 0.15, (count, versions)), 0.01, 0.99)
    embeddings = rng.normal(size=(count, versions, 528)).astype(np.float32)
    unseen = ~np.array([crop.weighs for crop in crops])
    network[unseen, 2:] = np.nan
    embeddings[unseen, 2:] = np.nan
    described = rng.normal(size=(count, versions, SELF_DESCRIPTION_DIM)).astype(np.float32)
    return Described(crops, np.arange(count), statistics, described, embeddings, network, handling)


@pytest.fixture(scope="module")
def data() -> Described:
    return made()


def test_both_opinions_are_heard(data):
    read_out, card = train_read_out(data)
    assert card["weighed_on"] == {"photographs": 20, "ai": 40}, "the other 20 photographs held out calibrate"
    assert card["crops"] == {"photographs": 80, "ai": 120}, "held-out AI images join the last fit, photographs do not"
    assert (read_out.joint[:2] > 0).all()
    areas = card["held_out_auroc"]["reencoded"]
    assert areas["network"] < areas["both"]
    assert areas["network"] == pytest.approx(0.92, abs=0.08)
    probability = read_out.probability(data.network[:, :2], data.statistics[:, :2])
    assert probability[data.is_ai].mean() > 0.8 > 0.2 > probability[~data.is_ai].mean()


def test_soft_images_are_told_from_others(data):
    read_out, card = train_read_out(data)
    told = read_out.handling_probabilities(data.statistics).argmax(-1)
    assert (told == Handling.SOFT)[data.handling == Handling.SOFT].mean() > 0.9
    assert (told == Handling.SOFT)[data.handling != Handling.SOFT].mean() < 0.1
    assert card["called"]["soft"]["soft"] > 0.8


def test_photographs_that_calibrate_set_nothing(data):
    """The promise is about these: whatever they are, the read-out is the same."""
    calibrate = data.held_out & ~data.is_ai & ~data.weighs
    others = replace(
        data,
        statistics=np.where(calibrate[:, None, None], np.float32(9), data.statistics),
        network=np.where(calibrate[:, None], 0.99, data.network),
        self_descriptions=np.where(calibrate[:, None, None], np.float32(9), data.self_descriptions),
        embeddings=np.where(calibrate[:, None, None], np.float32(9), data.embeddings),
    )
    first, again = train_read_out(data)[0], train_read_out(others)[0]
    for name in ("mean", "weights", "joint", "handling"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_an_opinion_that_counts_against_itself_is_not_heard():
    is_ai = np.arange(200) % 2 == 1
    good = is_ai + np.random.default_rng(1).normal(0, 0.7, 200)
    opinions = np.stack([good, -good + np.random.default_rng(2).normal(0, 0.1, 200)], axis=-1)[:, None]
    weights = fit_weights(opinions, is_ai)
    assert weights[0] > 0
    assert weights[1] == 0


def test_classes_weigh_alike(data):
    weights = data.weights
    assert weights[data.is_ai].sum() == pytest.approx(1)
    assert weights[~data.is_ai].sum() == pytest.approx(1)


class Constant:
    def detect(self, patches, model):
        encoded = EncoderOutput(np.ones(528, np.float32), np.ones((len(patches.pixels), 528), np.float32), np.zeros(3))
        return DetectorOutput(encoded, 0.25)


def test_crops_are_described_and_kept_on_disk(tmp_path):
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 255, (128, 128, 3), dtype=np.uint8), np.zeros((128, 128, 3), np.uint8)]
    pixels.append(pixels[0])
    crops = [
        LabelledCrop(p, False, f"{n}", "s", "m", "make", True, weighs=n == 2)
        for n, p in enumerate([pixels[1], pixels[0], pixels[2]])
    ]
    found = describe_crops(crops, lambda p, _: (p, Handling.HANDLED), Constant(), Release.unversioned("x"))
    assert found.crops == (crops[1], crops[2]), "the black one has no usable patch"
    assert found.statistics.shape == (2, len(VERSIONS), DIMENSIONS)
    np.testing.assert_array_equal(found.statistics[0, 0], found.statistics[0, 2])
    assert np.abs(found.statistics[0, 0] - found.statistics[0, 1]).max() > 0.01, "re-encoding leaves traces"
    assert found.handling[0].tolist() == [Handling.AS_MADE] * 2 + [Handling.HANDLED] * 3
    assert np.isfinite(found.network).tolist() == [[True, True, False, False, False], [True] * 5]
    found.save(tmp_path / "described.npz")
    again = Described.load(tmp_path / "described.npz", crops)
    assert again.crops == found.crops
    np.testing.assert_array_equal(again.network, found.network)
    np.testing.assert_array_equal(again.handling, found.handling)


def test_histories_go_with_the_crop_as_found(data):
    """Each row of both is of one crop, once for each random history."""
    marked = np.arange(data.embeddings.shape[0])[:, None] + np.arange(len(VERSIONS)) / 10
    data = replace(
        data,
        embeddings=np.repeat(marked[..., None], 528, axis=2),
        self_descriptions=np.repeat(marked[..., None], SELF_DESCRIPTION_DIM, axis=2),
    )
    found, after = data.histories(data.weighs)
    weighing = np.flatnonzero(data.weighs)
    np.testing.assert_array_equal(found.embedding[:, 0], np.repeat(weighing, 3))
    np.testing.assert_allclose(after.embedding[:, 0] - found.embedding[:, 0], np.tile([0.2, 0.3, 0.4], len(weighing)))
    np.testing.assert_array_equal(after.means[:, -1], after.embedding[:, 0])
    np.testing.assert_array_equal(found.deviations[:, -1], found.embedding[:, 0])


@pytest.mark.parametrize(
    ("generator", "family"),
    [
        ("StyleGAN3 (FFHQ, psi 0.5, stored at 256 px)", "gan"),
        ("VQGAN + CLIP", "gan"),
        ("DALL-E 2", "dall-e"),
        ("ChatGPT image (gpt-image-1 family; the source repository calls it DALL-E)", "gpt-image"),
        ("Google Whisk (Imagen)", "gemini"),
        ("DiT-XL/2 (ImageNet)", "early-latent"),
        ("Stable Diffusion 1.5 or SDXL", "early-latent"),
        ("Stable Diffusion 3.5", "flux-class"),
        ("SDXL-Turbo", "sdxl-class"),
        ("Midjourney v6", "midjourney"),
        ("FLUX.2-klein", "flux-class"),
        ("Qwen-Image", "flux-class"),
    ],
)
def test_family_of(generator, family):
    assert family_of(generator) == family


def test_folds_fit_on_nothing_that_they_ask_about(data):
    made_folds = list(folds(data, tuple(FAMILIES), ("apple", "samsung+google")))
    assert len(made_folds) == 8
    for fold in made_folds:
        assert not (fold.usable & fold.left_out).any()
        left, used = ({data.crops[n].source for n in np.flatnonzero(mask)} for mask in (fold.left_out, fold.usable))
        assert not left & used


def test_unseen_table():
    data = made()
    crops = tuple(  # one source per camera, so that a fold leaves enough to fit on
        replace(crop, source=f"{crop.camera}{crop.make}") for crop in data.crops
    )
    data = replace(data, crops=crops)
    figures = evaluate_unseen(data, ("dall-e", "gan"), ("apple",))
    assert [(fold["family"], fold["makes"], fold["real"], fold["ai"]) for fold in figures["folds"]] == [
        ("dall-e", ["apple"], 40, 30),
        ("gan", ["apple"], 40, 30),
    ]
    assert figures["worst"]["reencoded"]["binary"]["auroc"] > 0.8
    assert figures["mean"]["as_found"]["one_class"]["auroc"] < 0.75, "no view knows anything here"


def test_an_images_crops_are_one_sample_wherever_they_stand(data):
    """Three crops of an AI image apart from each other; a photograph of the same name is another image."""
    images = [(True, "same"), (False, "b"), (True, "same"), (False, "a"), (False, "same"), (True, "same")]
    crops = tuple(
        replace(data.crops[number], is_ai=is_ai, photograph=name) for number, (is_ai, name) in enumerate(images)
    )
    arrays = ("kept", "statistics", "self_descriptions", "embeddings", "network", "handling")
    some = Described(crops, *(getattr(data, name)[:6] for name in arrays))
    every = np.ones(len(crops), dtype=bool)
    assert some.images(every).tolist() == [3, 1, 3, 0, 2, 3]
    traces = some.image_traces(every, 1)
    assert traces.patch_counts.tolist() == [16, 16, 16, 48]
    for image, members in enumerate(([3], [1], [4], [0, 2, 5])):
        np.testing.assert_allclose(traces.embedding[image], some.embeddings[members, 1].mean(0), atol=1e-6)
    assert np.flatnonzero(some.first_crops(every)).tolist() == [0, 1, 3, 4]
    found = photo_features(some, every)
    assert found.groups.tolist() == [crops[number].source for number in (3, 1, 4, 0)]
    np.testing.assert_allclose(found.parts.embedding[3], some.embeddings[0, 0])
    np.testing.assert_allclose(found.ai_probabilities, some.network[[3, 1, 4, 0], 0])
