"""The served detector on a real Triton equals the eager one, at every patch count and in any company."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.local import LocalDetector
from pipeline.adapters.triton import BINARY, ENCODER, TritonClient, TritonDetector, TritonRepository
from pipeline.errors import DetectorUnavailable
from pipeline.records import ModelVersion, Patches
from pipeline.release import Release
from pipeline.settings import DEFAULT_RELEASE, Settings, TritonSettings
from tests.servers import kill_network, settings_for

TOLERANCE = 1e-4
"""Both compute in fp32; only the order of additions may differ."""


@pytest.fixture(scope="module")
def settings(triton_server) -> Settings:
    return settings_for(triton_server)


@pytest.fixture(scope="module")
def client(settings):
    client = TritonClient(settings.triton)
    yield client
    client.close()


@pytest.fixture(scope="module")
def repository(settings, client) -> TritonRepository:
    return TritonRepository(settings.triton.model_repository, client)


@pytest.fixture(scope="module")
def model(repository) -> ModelVersion:
    encoder, binary = repository.install(Release.open(DEFAULT_RELEASE))
    return ModelVersion(1, "shipped", encoder, binary, "")


def image(count: int, seed: int = 0) -> Patches:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    return Patches(pixels, np.zeros((count, 2), np.int32))


def assert_equal(served, eager):
    np.testing.assert_allclose(served.encoder.embedding, eager.encoder.embedding, atol=TOLERANCE)
    np.testing.assert_allclose(served.encoder.patch_features, eager.encoder.patch_features, atol=TOLERANCE)
    np.testing.assert_allclose(served.encoder.exif, eager.encoder.exif, atol=TOLERANCE)
    assert served.ai_probability == pytest.approx(eager.ai_probability, abs=1e-5)


def test_served_output_equals_the_eager_one(client, model):
    served, eager = TritonDetector(client), LocalDetector(DEFAULT_RELEASE)
    for count in (1, 2, 7, 64):
        assert_equal(served.detect(image(count), model), eager.detect(image(count), model))


def test_an_image_scores_the_same_in_any_batch(client, model):
    """Concurrent requests of different sizes are batched together; nobody's result may depend on the others."""
    served, eager = TritonDetector(client), LocalDetector(DEFAULT_RELEASE)
    images = [image(1 + seed % 5, seed) for seed in range(12)]
    with ThreadPoolExecutor(12) as pool:
        outputs = list(pool.map(lambda one: served.detect(one, model), images))
    for one, output in zip(images, outputs, strict=True):
        assert_equal(output, eager.detect(one, model))


def test_installing_the_same_weights_again_makes_no_new_version(repository, model):
    assert repository.install(Release.open(DEFAULT_RELEASE)) == (model.encoder_version, model.binary_version)


def test_new_weights_become_a_new_version_and_the_old_one_stays(repository, client, model, tmp_path):
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in Release.open(DEFAULT_RELEASE).files():
        (changed / path.name).write_bytes(path.read_bytes())
    weights = changed / "encoder.safetensors"
    content = bytearray(weights.read_bytes())
    content[-4:] = np.float32(0.25).tobytes()
    weights.write_bytes(content)
    encoder, binary = repository.install(Release.open(changed))
    assert (encoder, binary) == (model.encoder_version + 1, model.binary_version)
    assert client.ready(ENCODER, model.encoder_version)
    assert client.ready(ENCODER, encoder)


def test_weights_that_are_used_in_another_way_become_a_new_version(repository, client, model, settings):
    """A version that runs already would go on with the code that it was loaded with."""
    old = settings.triton.model_repository / BINARY / str(model.binary_version) / "model.py"
    program = old.read_text()
    old.write_text(program + "# of another release\n")
    encoder, binary = repository.install(Release.open(DEFAULT_RELEASE))
    old.write_text(program)
    assert binary > model.binary_version
    assert encoder == model.encoder_version
    assert client.ready(BINARY, binary)


def test_a_version_that_does_not_exist_is_unavailable(client):
    with pytest.raises(DetectorUnavailable, match="version 99"):
        client.infer(BINARY, 99, image(1).pixels, ["AI_PROBABILITY"])


@pytest.mark.parametrize("network", [ENCODER, BINARY])
def test_a_network_whose_process_died_is_loaded_anew(triton_server, client, model, network):
    assert not client.revive(network, 1)
    kill_network(triton_server, network)
    with pytest.raises(DetectorUnavailable, match="is not healthy"):
        TritonDetector(client).detect(image(2), model)
    assert client.ready(network, 1)  # Triton's word
    assert client.revive(network, 1)
    assert_equal(TritonDetector(client).detect(image(2), model), LocalDetector(DEFAULT_RELEASE).detect(image(2), model))


def test_a_network_that_is_not_loaded_is_loaded(client, model):
    client.unload(BINARY)
    assert not client.ready(BINARY, model.binary_version)
    assert client.revive(BINARY, model.binary_version)


def test_what_no_loading_mends_is_unavailable(client):
    with pytest.raises(DetectorUnavailable, match="version 99"):
        client.revive(BINARY, 99)


def test_no_server_is_unavailable_within_the_deadline():
    client = TritonClient(TritonSettings(url="127.0.0.1:9", timeout=1, model_repository=Path("/nowhere")))
    with pytest.raises(DetectorUnavailable):
        client.infer(BINARY, 1, image(1).pixels, ["AI_PROBABILITY"])
    client.close()


def test_live_images_go_before_those_of_a_backfill(settings, model):
    """More images wait than three batches take. The live ones came last, and still a batch of backfill is left over."""
    patient = settings.triton.model_copy(update={"timeout": 100})
    backfill = TritonClient(patient.model_copy(update={"priority": 2}))
    live = TritonClient(patient)
    order: list[TritonClient] = []

    def ask(client: TritonClient, patches: int) -> None:
        client.infer(ENCODER, model.encoder_version, image(patches).pixels, ("EMBEDDING",))
        order.append(client)

    with ThreadPoolExecutor(110) as crowd:
        waiting = [crowd.submit(ask, backfill, 24) for _ in range(100)]
        time.sleep(0.5)  # a batch of these takes longer
        waiting += [crowd.submit(ask, live, 8) for _ in range(10)]
        for answer in waiting:
            answer.result()
    backfill.close()
    live.close()
    after_live = order[::-1].index(live)
    assert after_live >= 10
