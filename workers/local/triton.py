"""NVIDIA Triton Inference Server, out of the `nvidia-pytriton` wheel.

Only the server inside that wheel is used, so it is installed into a folder of its own without its dependencies (it
asks for NumPy < 2). Models run in its Python backend: the Python that runs Lenswatch, with this environment's packages.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
from pathlib import Path

import httpx

from workers.local.processes import LOOPBACK, Process, ProcessFailed, free_port
from workers.local.server import NotReady, Server

WHEEL = "nvidia-pytriton==0.7.0"
"""Triton 2.51."""

PROGRAM = Path(".lenswatch/triton-server")
"""Where `make install` puts the wheel."""

EXIT_TIMEOUT = 5
"""Seconds that it computes on when asked to stop. Whoever asked for answers is gone by then: workers stop first."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory


class TritonServer(Server):
    """Serves every model of `folder/triton`; models published later are loaded on request (explicit control)."""

    name = "triton"
    start_timeout = 180  # s; importing torch for each model on a busy machine

    def __init__(self, folder: Path, program: Path = PROGRAM) -> None:
        """`program`: where the wheel was installed."""
        super().__init__(folder)
        self._program = program.resolve()
        # Names our shared memory, so that what a killed server left of it can be told from other servers'.
        self._region = f"lenswatch-{hashlib.sha256(str(self.data).encode()).hexdigest()[:12]}-"
        self._http = self._grpc = self._metrics = 0

    def prepare(self) -> Process:
        self._free_shared_memory()
        ports = (self._http, self._grpc, self._metrics)
        self._http, self._grpc, self._metrics = (port or free_port() for port in ports)
        command: list[str | Path] = [
            self._program / "pytriton/tritonserver/bin/tritonserver",
            f"--model-repository={self.data}",
            f"--backend-directory={self._backends()}",
            "--model-control-mode=explicit",
            "--load-model=*",
            "--exit-on-error=false",  # one broken model must not take the others down
            "--strict-readiness=false",
            f"--exit-timeout-secs={EXIT_TIMEOUT}",
            f"--backend-config=python,shm-region-prefix-name={self._region}",
        ]
        for door, port in (("http", self._http), ("grpc", self._grpc), ("metrics", self._metrics)):
            command += [f"--{door}-address={LOOPBACK}", f"--{door}-port={port}"]
        environment = {
            "LD_LIBRARY_PATH": f"{self._program / 'nvidia_pytriton.libs'}:{sysconfig.get_config_var('LIBDIR')}",
            # PyTorch's threads that spin while they wait starve one another where cores are shared with other work:
            # measured on two busy cores, an image takes 0.4 s instead of 5 s.
            "OMP_WAIT_POLICY": "PASSIVE",
            # The backend's Python ignores PYTHON* variables, but takes its home from the first python3 on the path:
            # found in our virtual environment, it sees the packages that we see.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }
        return Process(self.name, command, self.folder, environment=environment, grace=3 * EXIT_TIMEOUT)

    def version(self) -> str:
        try:
            httpx.get(f"{self.url}/v2/health/ready", timeout=5).raise_for_status()
            return str(httpx.get(f"{self.url}/v2", timeout=5).raise_for_status().json()["version"])
        except httpx.HTTPError as error:
            raise NotReady(str(error)) from error

    def stop(self) -> None:
        super().stop()
        self._free_shared_memory()

    @property
    def url(self) -> str:
        """HTTP door; inference goes through gRPC."""
        return f"http://{LOOPBACK}:{self._http}"

    @property
    def metrics_url(self) -> str:
        return f"http://{LOOPBACK}:{self._metrics}/metrics"

    def environment(self) -> dict[str, str]:
        return {
            "LENSWATCH_TRITON__URL": f"{LOOPBACK}:{self._grpc}",
            "LENSWATCH_TRITON__MODEL_REPOSITORY": str(self.data),
        }

    def _backends(self) -> Path:
        """The Python backend beside the stub that was built for the Python running now; the wheel keeps them apart."""
        home = self._program / "pytriton/tritonserver"
        if not home.exists():
            raise ProcessFailed(
                f"Triton's server is not in {self._program}; `make install` puts it there "
                f"(pip install --no-deps --target {self._program} {WHEEL})"
            )
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = home / "python_backend_stubs" / python / "triton_python_backend_stub"
        if not stub.exists():
            built = sorted(folder.name for folder in stub.parents[1].iterdir())
            raise ProcessFailed(f"{WHEEL} has no Python backend for Python {python}; it has {', '.join(built)}")
        backends = self.folder / "triton-backends"
        shutil.copytree(home / "backends/python", backends / "python", dirs_exist_ok=True)
        shutil.copy2(stub, backends / "python" / stub.name)
        (backends / "python" / stub.name).chmod(0o755)
        return backends

    def _free_shared_memory(self) -> None:
        for region in SHARED_MEMORY.glob(f"{self._region}*"):
            region.unlink(missing_ok=True)
