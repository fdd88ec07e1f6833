"""Training itself, on eight small photographs: it learns, resumes, exports, and what is exported can be served."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from pipeline.encoder.binary import BinaryTraining, auroc, train_binary
from pipeline.encoder.export import load_exported_binary, load_exported_encoder
from pipeline.encoder.heads import StandardisedHeads
from pipeline.encoder.loop import Schedule, one_cycle
from pipeline.encoder.network import BinaryDetector, ExifHeads
from pipeline.encoder.serve import SdaieRunner, load_binary, load_encoder
from pipeline.encoder.start import by_class
from pipeline.encoder.train import EncoderTraining, train_encoder
from pipeline.one_class import logit
from tests.images import camera_jpeg, photo
from workers.cli.train import app


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for n in range(8):
        source = folder / f"trip {n}"
        source.mkdir()
        (source / f"{n}.jpg").write_bytes(camera_jpeg(seed=n, model=f"Cam {n % 2}", FNumber=2.0 + n))
    return folder


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    for n in range(6):
        (folder / f"{n}").mkdir()
        Image.fromarray(photo(80, 90, seed=n)[::-1]).save(folder / f"{n}" / "x.png")
    return folder


def run(photographs, out, steps, seed=0):
    train_encoder(EncoderTraining(photographs, out, images=3, patches=2, seed=seed, schedule=Schedule(steps=steps)))
    return torch.load(out / "encoder.pt", weights_only=True)


@pytest.fixture(scope="module")
def release(photographs, generated, tmp_path_factory):
    out = tmp_path_factory.mktemp("release")
    run(photographs, out, 4)
    schedule = Schedule(steps=2)
    train_binary(BinaryTraining(photographs, generated, out, out, images=4, patches=2, schedule=schedule))
    return out


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(photographs, release, tmp_path, monkeypatch):
    from pipeline.encoder import loop

    whole = torch.load(release / "encoder.pt", weights_only=True)
    with monkeypatch.context() as patch:  # stop the same schedule after two of its four steps
        patch.setattr(loop.Budget, "progress", property(lambda budget: 1.0 if budget.step == 2 else budget.step / 4))
        assert run(photographs, tmp_path, 4)["step"] == 2
    resumed = run(photographs, tmp_path, 4)
    assert resumed["step"] == whole["step"] == 4
    for kind in ("model", "average"):
        for name, value in whole[kind].items():
            torch.testing.assert_close(resumed[kind][name], value, msg=f"{kind} {name}")


def test_another_seed_is_another_run(photographs, release, tmp_path):
    first = torch.load(release / "encoder.pt", weights_only=True)["model"]
    second = run(photographs, tmp_path, 1, seed=1)["model"]
    assert not torch.equal(first["encoder.trunk.stem.conv.weight"], second["encoder.trunk.stem.conv.weight"])


def test_a_checkpoint_of_other_tags_is_refused(photographs, tmp_path):
    state = run(photographs, tmp_path, 1)
    state["identity"]["tags"][1].append("Lomo")
    torch.save(state, tmp_path / "encoder.pt")
    with pytest.raises(ValueError, match="something else"):
        run(photographs, tmp_path, 2)


def test_what_is_exported_says_what_it_is(release):
    card = json.loads((release / "encoder.json").read_text())
    assert card["network"] == "sdaie"
    assert card["patch_size"] == 64
    assert [tag["kind"] for tag in card["tags"]].count("rank") == 7
    assert card["training"]["steps"] == 4
    assert card["training"]["patch_passes"] == 4 * 3 * 2
    assert (release / "encoder.safetensors").stat().st_size < 12 * 2**20
    weights = load_file(release / "encoder.safetensors")
    heads = sum(len(value) for name, value in weights.items() if name.startswith("heads.") and name.endswith("bias"))
    assert heads == sum(len(tag.get("classes", "x")) for tag in card["tags"])


def test_the_log_has_one_object_a_line(release):
    lines = [json.loads(line) for line in (release / "encoder.jsonl").read_text().splitlines()]
    assert lines[-1]["steps"] == 4
    assert "held_out" in lines[-1]


def test_folded_heads_are_the_standardised_ones():
    torch.manual_seed(0)
    heads = StandardisedHeads([1, 2])
    features = 5 + 3 * torch.randn(16, 4, 528)
    for _ in range(50):
        heads(features)
    heads.eval()
    torch.testing.assert_close(heads.folded()(features), heads(features), atol=1e-4, rtol=1e-4)


def test_heads_that_took_over_plain_ones_are_them():
    torch.manual_seed(0)
    plain, heads = ExifHeads([1, 2, 3]), StandardisedHeads([1, 2, 3])
    untouched = heads.heads.heads[1].weight.clone()
    features = 5 + 3 * torch.randn(640, 528)
    heads.take_over([plain.heads[0], None, plain.heads[2]], features)
    for module in (heads.train(), heads.eval()):  # by the batch's statistics, and by the kept ones
        outputs = module(features.view(16, 40, 528)).flatten(0, 1)
        torch.testing.assert_close(outputs[:, [0, 3, 4, 5]], plain(features)[:, [0, 3, 4, 5]], atol=1e-2, rtol=1e-2)
    assert torch.equal(heads.heads.heads[1].weight, untouched)


def test_a_head_is_kept_class_by_class():
    head = torch.nn.Linear(528, 2)
    kept = by_class(head, ("A", "B"), ("B", "new", "A"))
    assert torch.equal(kept.weight[[2, 0]], head.weight)
    assert torch.equal(kept.bias[[2, 0]], head.bias)
    torch.testing.assert_close(kept.weight[1], head.weight.mean(0))
    assert by_class(head, ("A", "B"), ("C",)) is None
    rank = torch.nn.Linear(528, 1)
    assert by_class(rank, (), ()) is rank


def test_a_run_starts_from_a_release_and_says_so(photographs, generated, release, tmp_path):
    start, out = Schedule(steps=0), tmp_path / "start"
    train_encoder(EncoderTraining(photographs, out, images=3, patches=2, init=release, schedule=start))
    options = {"images": 4, "patches": 2, "init": release, "schedule": start}
    train_binary(BinaryTraining(photographs, generated, release, out, **options))
    for network, passes in (("encoder", 4 * 3 * 2), ("binary", 2 * 4 * 2)):
        training = json.loads((out / f"{network}.json").read_text())["training"]
        assert (training["patch_passes"], training["patch_passes_before"]) == (0, passes)
        before, after = (load_file(folder / f"{network}.safetensors") for folder in (release, out))
        for name, value in before.items():  # nothing was trained: still the release's function
            torch.testing.assert_close(after[name], value, atol=1e-4, rtol=1e-3, msg=name)
    train_encoder(EncoderTraining(photographs, tmp_path / "on", images=3, patches=2, init=out, schedule=start))
    onwards = json.loads((tmp_path / "on" / "encoder.json").read_text())["training"]
    assert onwards["patch_passes_before"] == 4 * 3 * 2
    with pytest.raises(ValueError, match="something else"):  # the checkpoint is of a run with a start
        run(photographs, out, 1)


def test_a_checkpoint_of_the_binary_network_is_of_one_recipe_and_one_set_of_images(photographs, generated, release):
    def go_on(ai=generated, **changes):
        options = {"images": 4, "patches": 2, "schedule": Schedule(steps=2)} | changes
        train_binary(BinaryTraining(photographs, ai, release, release, **options))

    go_on()  # nothing is left to do
    for changes in ({"blurred": 0.9}, {"seed": 1}, {"ai": photographs}):
        with pytest.raises(ValueError, match="something else"):
            go_on(**changes)


def test_learning_rate_rises_then_falls():
    rates = [one_cycle(progress, 1.0) for progress in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == pytest.approx(1)
    assert int(np.argmax(rates)) == 8
    assert rates[-1] == pytest.approx(0.001)


def test_a_served_image_does_not_depend_on_its_batch(release):
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8) for count in (5, 1, 40, 9)]
    encoder, binary = load_encoder(release), load_binary(release)
    together, probabilities = encoder.embed(images), binary.probability(images)
    for image, output, probability in zip(images, together, probabilities, strict=True):
        (alone,) = encoder.embed([image])
        np.testing.assert_allclose(output.embedding, alone.embedding, atol=1e-4)
        np.testing.assert_allclose(output.patch_features, alone.patch_features, atol=1e-4)
        np.testing.assert_allclose(output.exif, alone.exif, atol=1e-4)
        assert output.patch_features.shape == (len(image), 528)
        assert binary.probability([image])[0] == pytest.approx(probability, abs=1e-4)


@pytest.mark.parametrize("count", [4, 16])
def test_what_is_served_is_the_network(release, count):
    network, heads, tags = load_exported_encoder(release)
    image = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    (output,) = SdaieRunner(network, heads, tags, torch.device("cpu")).embed([image])
    with torch.inference_mode():
        features = network.forward_patches(torch.from_numpy(image), folded=False)
        embedding = network.mix(features[None])[0, 0]
        np.testing.assert_allclose(output.patch_features, features, atol=1e-4)
        np.testing.assert_allclose(output.embedding, embedding, atol=1e-4)
        np.testing.assert_allclose(output.exif, heads(embedding), atol=1e-4)


def test_the_encoder_averages_what_it_finds_in_sixteen_patches_each(release):
    image = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    image[16:] //= 16  # dark: the windows differ
    parts = [image[:16], image[16:32], image[24:]]
    whole, *alone = load_encoder(release).embed([image, *parts])
    np.testing.assert_allclose(whole.embedding, np.mean([part.embedding for part in alone], axis=0), atol=1e-4)
    np.testing.assert_allclose(whole.exif, np.mean([part.exif for part in alone], axis=0), atol=1e-4)
    assert np.abs(alone[0].embedding - alone[1].embedding).max() > 1e-2


def test_the_binary_detector_averages_what_it_finds_in_sixteen_patches_each(release):
    served, image = load_binary(release), np.random.default_rng(0).integers(0, 256, (32, 64, 64, 3), dtype=np.uint8)
    image[16:] //= 16  # dark: the halves differ
    detector, patches = load_exported_binary(release).eval(), torch.from_numpy(image)
    with torch.inference_mode():
        halves = [logit(detector(half, [16]).numpy())[0] for half in patches.split(16)]
        at_once = logit(detector(patches, [32]).numpy())[0]
    of_served = logit(np.array(served.probability([image])))[0]
    assert abs(halves[0] - halves[1]) > 1e-3
    assert of_served == pytest.approx(np.mean(halves), abs=1e-4)
    # how much attention over both halves differs is up to a network that was hardly trained
    assert abs(of_served - np.mean(halves)) < abs(of_served - at_once) / 5


def test_nothing_is_served_for_an_image_without_patches(release):
    with pytest.raises(ValueError, match="without patches"):
        load_encoder(release).embed([np.zeros((0, 64, 64, 3), np.uint8)])
    assert load_encoder(release).embed([]) == []


def test_the_binary_detector_starts_at_random_and_is_exported(release):
    detector = BinaryDetector()
    detector.load_state_dict(load_file(release / "binary.safetensors"))
    trained_encoder = load_exported_encoder(release)[0]
    assert not torch.equal(detector.encoder.trunk.stem.conv.weight, trained_encoder.trunk.stem.conv.weight)
    card = json.loads((release / "binary.json").read_text())
    assert card["training"]["patch_passes"] == 2 * 4 * 2


def test_auroc():
    assert auroc([0.1, 0.2], [0.3, 0.2]) == pytest.approx(0.875)


def test_the_commands_train(photographs, generated, tmp_path):
    common = ["--data", str(photographs), "--out", str(tmp_path), "--steps", "1", "--name", "mine"]
    common += ["--images", "4"]
    ai = ["--ai", str(generated), "--encoder", str(tmp_path / "encoder.safetensors")]
    for command in (["encoder", *common], ["binary", *common, *ai]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        card = json.loads((tmp_path / f"{command[0]}.json").read_text())
        assert (card["name"], card["training"]["steps"]) == ("mine", 1)
        assert card["training"]["patch_passes"] == 4 * {"encoder": 8, "binary": 6}[command[0]]
