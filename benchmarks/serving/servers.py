"""The servers: how each is started and called, and the resources that its processes use."""

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.paths import REPOSITORY
from benchmarks.processes import resident_bytes, tree
from benchmarks.serving import payloads
from benchmarks.serving.champions import Served
from benchmarks.serving.load import HOST
from benchmarks.serving.payloads import BINARY, FORM, JSON, PNG, Call
from benchmarks.serving.peers.model import MODEL, PORT, RELEASE, WORKERS
from pipelines.execution.ports import free_port

READY_SECONDS = 120.0
MLSERVER = "mlserver==1.7.1"
OLD_UVLOOP = "uvloop==0.21.0"  # MLServer's workers fail with later ones, which create no event loop implicitly
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "ORT_DISABLE_TELEMETRY": "1", "OTEL_SDK_DISABLED": "true"}


class NotStartedError(Exception):
    """A server could not be started; the message has the reason."""


@dataclass(frozen=True)
class Server:
    """A way to serve a model. `command` is run in the repository with `environment` added."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready: str
    calls: Mapping[str, Call]
    port: int


@dataclass
class Running:
    """A started server; `ready_seconds` from its start to the first successful health check."""

    server: Server
    process: subprocess.Popen[bytes]
    ready_seconds: float

    def cpu_seconds(self) -> float:
        """CPU time that all its processes have used."""
        total = 0.0
        for process in tree(self.process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def worker_megabytes(self) -> float:
        """Resident memory of its largest process: of a worker."""
        return float(max((process.memory_info().rss for process in tree(self.process.pid)), default=0) / 2**20)

    def megabytes(self) -> float:
        """Memory of all its processes, what they share counted once."""
        return resident_bytes(tree(self.process.pid)) / 2**20


def tandem(served: Served, workers: int, home: Path) -> Server:
    """Tandem as started by a user."""
    port = free_port()
    infer = "/v2/models/tandem/infer"
    return Server(
        "Tandem",
        (*_bentoml("serving.service:Tandem", port),),
        {"TANDEM_CHAMPION": str(served.folder), "TANDEM_WORKERS": str(workers), "BENTOML_HOME": str(home)},
        "/readyz",
        {
            JSON: Call("/predict", payloads.lists, payloads.read_tandem),
            BINARY: Call(infer, payloads.binary_tensor, payloads.read_behind_header),
            PNG: Call("/predict/image", payloads.png, payloads.read_tandem),
            FORM: Call("/predict/image", payloads.form, payloads.read_tandem),
        },
        port,
    )


def fastapi(served: Served, workers: int, home: Path) -> Server:
    """FastAPI under uvicorn."""
    del home
    port = free_port()
    options = f"--host {HOST} --port {port} --workers {workers} --loop uvloop --http httptools --no-access-log"
    return Server(
        "FastAPI + ONNX Runtime",
        (
            sys.executable,
            "-m",
            "uvicorn",
            "benchmarks.serving.peers.fastapi_peer:app",
            *options.split(),
            "--log-level",
            "error",
        ),
        _peer(served, workers, port),
        "/ready",
        {
            JSON: Call("/json", payloads.lists, payloads.read_probabilities),
            BINARY: Call("/binary", payloads.raw, payloads.read_raw),
            PNG: Call("/png", payloads.png, payloads.read_probabilities),
            FORM: Call("/form", payloads.form, payloads.read_probabilities),
        },
        port,
    )


def bentoml(served: Served, workers: int, home: Path) -> Server:
    """A plain BentoML service."""
    port = free_port()
    return Server(
        "BentoML, plain",
        _bentoml("benchmarks.serving.peers.bentoml_peer:Peer", port),
        _peer(served, workers, port) | {"BENTOML_HOME": str(home)},
        "/readyz",
        {
            JSON: Call("/json", payloads.lists, payloads.read_list),
            BINARY: Call("/binary", payloads.raw, payloads.read_list),
            PNG: Call("/png", payloads.png, payloads.read_list),
            FORM: Call("/form", payloads.form, payloads.read_list),
        },
        port,
    )


def litserve(served: Served, workers: int, home: Path) -> Server:
    """LitServe; it reads JSON and forms only."""
    del home
    port = free_port()
    return Server(
        "LitServe",
        (sys.executable, "-m", "benchmarks.serving.peers.litserve_peer"),
        _peer(served, workers, port),
        "/health",
        {
            JSON: Call("/predict", payloads.lists, payloads.read_probabilities),
            FORM: Call("/predict", payloads.form, payloads.read_probabilities),
        },
        port,
    )


def mlserver(served: Served, workers: int, home: Path) -> Server:
    """MLServer in a separate environment, which uv creates; it reads JSON tensors only."""
    folder = home / "mlserver"
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    _write_mlserver(folder, port, workers)
    return Server(
        "MLServer",
        mlserver_command("mlserver", "start", str(folder)),
        _peer(served, workers, port) | {"PYTHONPATH": str(REPOSITORY)},
        "/v2/health/ready",
        {JSON: Call("/v2/models/peer/infer", payloads.tensor, payloads.read_tensor)},
        port,
    )


Kind = Callable[[Served, int, Path], Server]
EVERY: tuple[Kind, ...] = (tandem, fastapi, bentoml, litserve, mlserver)


def mlserver_command(*command: str) -> tuple[str, ...]:
    """A command in MLServer's environment, which uv creates once; ONNX Runtime has the version of this environment."""
    packages = ("--with", f"onnxruntime=={RELEASE}.*", "--with", OLD_UVLOOP, "--with", "pillow")
    return ("uv", "tool", "run", "--quiet", "--python", ">=3.11,<3.13", "--from", MLSERVER, *packages, *command)


@contextlib.contextmanager
def run(server: Server, log: Path) -> Iterator[Running]:
    """The server, ready; ended by its process id. Raises NotStartedError."""
    if shutil.which(server.command[0]) is None:
        raise NotStartedError(f"{server.name}: there is no command {server.command[0]}")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TANDEM_", "BENTOML_"))}
    started = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            server.command,
            cwd=REPOSITORY,
            env=kept | QUIET | dict(server.environment),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(server, process, log)
        yield Running(server, process, time.perf_counter() - started)
    finally:
        _end(process)


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(HOST, server.port, timeout=5)
            try:
                connection.request("GET", server.ready)
                if connection.getresponse().status == 200:
                    return
            finally:
                connection.close()
        time.sleep(0.02)
    end = log.read_text("utf-8", "replace")[-1500:]
    raise NotStartedError(
        f"{server.name}: not ready within {READY_SECONDS:.0f} s, exit status {process.poll()}:\n{end}"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate the server, then kill its remaining processes."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        for left in [child for child in children if child.is_running()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
    if process.poll() is None:
        process.kill()
    process.wait()


def _bentoml(target: str, port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port))


def _peer(served: Served, workers: int, port: int) -> dict[str, str]:
    return {MODEL: str(served.model), WORKERS: str(workers), PORT: str(port)}


def _write_mlserver(folder: Path, port: int, workers: int) -> None:
    """Its settings: logs, metrics and compression off."""
    settings = {
        "debug": False,
        "host": HOST,
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "metrics_endpoint": None,
        "gzip_enabled": False,
        "parallel_workers": workers,
        "metrics_dir": str(folder / "metrics"),
        "environments_dir": str(folder / "environments"),
    }
    model = {"name": "peer", "implementation": "benchmarks.serving.peers.mlserver_peer.Peer"}
    (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), "utf-8")
