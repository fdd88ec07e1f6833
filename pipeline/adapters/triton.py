"""The detector on a Triton Inference Server, over gRPC."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from pipeline.errors import DetectorConfused, DetectorUnavailable
from pipeline.records import PATCH_SIZE, DetectorOutput, EncoderOutput, ModelVersion, Patches
from pipeline.release import Release
from pipeline.settings import TritonSettings

Arrays = list[NDArray[Any]]

ENCODER, BINARY = "sdaie_encoder", "sdaie_binary"
ENCODER_OUTPUTS, BINARY_OUTPUTS = ("EMBEDDING", "PATCH_FEATURES", "EXIF"), ("AI_PROBABILITY",)
OUTPUTS = {ENCODER: ENCODER_OUTPUTS, BINARY: BINARY_OUTPUTS}

STUB_DIED = re.compile(r"Stub process.* is not healthy|Failed to obtain the health mutex")
"""What Triton answers from then on where the Python process of a model has died. It starts none anew (since 24.06), and
calls itself ready all the same (server#8604), and in 2.51 the model, too."""

CALLBACK_GRACE = 2.0
"""s that gRPC gets to report a deadline that has passed."""

TEMPLATES = Path(__file__).parents[2] / "triton_models"
WEIGHTS = {ENCODER: ("encoder.safetensors", "encoder.json"), BINARY: ("binary.safetensors", "binary.json")}


class TritonClient:
    """A gRPC channel with our deadline on every call and our errors. Create it in the process that uses it."""

    def __init__(self, settings: TritonSettings) -> None:
        self._timeout, self._priority = settings.timeout, settings.priority
        ca = str(settings.tls_ca) if settings.tls_ca else None
        self._client = triton.InferenceServerClient(settings.url, ssl=settings.tls, root_certificates=ca)

    def infer(self, model: str, version: int, patches: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        """Outputs of one image, without the batch dimension. `patches` is uint8 (n, 64, 64, 3).

        Raises:
            DetectorUnavailable: not reachable, refused, or too late.
            DetectorConfused: the answer is not finite.
        """
        return self.begin(model, version, patches, outputs)()

    def begin(
        self, model: str, version: int, patches: NDArray[np.uint8], outputs: Sequence[str]
    ) -> Callable[[], Arrays]:
        """Send a request; what is returned waits for its answer. Two models asked so answer side by side."""
        answer: Future[triton.InferResult] = Future()
        batch = patches[None]
        self._client.async_infer(
            model,
            [triton.InferInput("PATCHES", batch.shape, "UINT8").set_data_from_numpy(batch)],
            lambda result, error: answer.set_exception(error) if error else answer.set_result(result),
            model_version=str(version),
            outputs=[triton.InferRequestedOutput(name) for name in outputs],
            priority=self._priority,
            timeout=int(self._timeout * 1e6),  # microseconds, for the server's queue
            client_timeout=self._timeout,
        )

        def wait() -> Arrays:
            try:
                result = answer.result(self._timeout + CALLBACK_GRACE)
            except (InferenceServerException, TimeoutError) as error:
                raise DetectorUnavailable(f"{model} version {version}: {error}") from error
            arrays = [np.asarray(result.as_numpy(name))[0] for name in outputs]
            if not all(np.isfinite(array).all() for array in arrays):
                raise DetectorConfused(f"{model} version {version} answered with numbers that are not finite")
            return arrays

        return wait

    def load(self, model: str) -> None:
        """(Re)load a model: version folders that are new come up, the others stay as they are."""
        try:
            self._client.load_model(model, client_timeout=10 * self._timeout)
        except InferenceServerException as error:
            raise DetectorUnavailable(f"{model} does not load: {error.message()}") from error

    def ready(self, model: str, version: int) -> bool:
        """Whether Triton says so; False where it says nothing."""
        try:
            return self._is_ready(model, version)
        except DetectorUnavailable:
            return False

    def _is_ready(self, model: str, version: int) -> bool:
        try:
            return bool(self._client.is_model_ready(model, str(version), client_timeout=self._timeout))
        except InferenceServerException as error:
            raise DetectorUnavailable(f"{model} version {version}: {error}") from error

    def revive(self, model: str, version: int) -> bool:
        """Load a model anew where this version of it is not loaded, or its process has died. True: it was, and answers.

        Its other versions are away for the seconds that loading takes. Raises DetectorUnavailable where Triton does not
        answer, for another reason or after loading, and DetectorConfused where the answer is not finite.
        """
        try:
            self.rehearse(model, version)
            return False
        except DetectorUnavailable as error:
            died = STUB_DIED.search(str(error))
            if not died and self._is_ready(model, version):
                raise
        if died:
            self.unload(model)  # loading alone leaves a version as it is whose files did not change
        self.load(model)
        self.rehearse(model, version)
        return True

    def rehearse(self, model: str, version: int) -> None:
        """Ask for the answer to two patches of noise, and forget it. Raises what `infer` does."""
        noise = np.random.default_rng(0).integers(0, 256, (2, PATCH_SIZE, PATCH_SIZE, 3), dtype=np.uint8)
        self.infer(model, version, noise, OUTPUTS[model])

    def unload(self, model: str) -> None:
        """Take all versions of a model out of service. Raises DetectorUnavailable."""
        try:
            self._client.unload_model(model, client_timeout=10 * self._timeout)
        except InferenceServerException as error:
            raise DetectorUnavailable(f"{model} does not unload: {error.message()}") from error

    def close(self) -> None:
        self._client.close()


class TritonDetector:
    """Implements `ports.Detector`."""

    def __init__(self, client: TritonClient) -> None:
        self._client = client

    def detect(self, patches: Patches, model: ModelVersion) -> DetectorOutput:
        encoder = self._client.begin(ENCODER, model.encoder_version, patches.pixels, ENCODER_OUTPUTS)
        binary = self._client.begin(BINARY, model.binary_version, patches.pixels, BINARY_OUTPUTS)
        embedding, patch_features, exif = encoder()
        [probability] = binary()
        return DetectorOutput(
            encoder=EncoderOutput(embedding=embedding, patch_features=patch_features, exif=exif),
            ai_probability=float(probability[0]),
        )


class TritonRepository:
    """The folder of models that Triton serves; a release's networks become new numeric versions in it."""

    def __init__(self, folder: Path, client: TritonClient) -> None:
        self._folder = folder
        self._client = client

    def install(self, release: Release) -> tuple[int, int]:
        """Put the release's two networks up, loaded and warmed. Returns their versions (encoder, binary).

        Weights that a version folder already holds, beside the same `model.py`, are not installed twice.
        """
        return self._install(ENCODER, release.folder), self._install(BINARY, release.folder)

    def _install(self, model: str, source: Path) -> int:
        version = self._find(model, source) or self._add(model, source)
        if not self._client.ready(model, version):
            self._client.load(model)
        self._client.rehearse(model, version)
        return version

    def _versions(self, model: str) -> list[int]:
        return sorted(int(path.name) for path in (self._folder / model).glob("[0-9]*") if path.name.isdigit())

    def _find(self, model: str, source: Path) -> int | None:
        weights, program = WEIGHTS[model][0], "model.py"
        wanted = (source / weights).read_bytes(), (TEMPLATES / model / "1" / program).read_bytes()
        for version in self._versions(model):
            folder = self._folder / model / str(version)
            if ((folder / weights).read_bytes(), (folder / program).read_bytes()) == wanted:
                return version
        return None

    def _add(self, model: str, source: Path) -> int:
        version = max(self._versions(model), default=0) + 1
        target = self._folder / model / str(version)
        partial = target.with_name(f"partial-{version}")  # Triton ignores folders that are not numbers
        partial.mkdir(parents=True, exist_ok=True)
        shutil.copy(TEMPLATES / model / "config.pbtxt", self._folder / model / "config.pbtxt")
        shutil.copy(TEMPLATES / model / "1" / "model.py", partial / "model.py")
        for name in WEIGHTS[model]:
            shutil.copy(source / name, partial / name)
        partial.rename(target)
        return version
