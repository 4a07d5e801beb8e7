"""A champion on disk, the application in this process, and a served process."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import psutil
import pytest
from prometheus_client import CollectorRegistry

from pipelines.execution.ports import free_port
from serving import routes
from serving.api import openapi
from serving.application import Application
from serving.http.messages import Receive, Scope, Send
from serving.monitoring.metrics import Metrics
from serving.settings import Settings
from serving.worker import Worker
from tests.serving import bundles
from tests.serving.collector import Collector

ROOT = Path(__file__).parents[2]
# Seconds after which a test fails that waits for a service, a condition or the end of a process, which takes a few on
# a quiet machine. It is no part of what is tested: a busy machine must not exceed it.
PATIENCE = 120.0
for _operation in ("connect", "read", "write", "pool"):  # 5 s otherwise
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _operation, PATIENCE)
# Each `httpx.get` reads all certificates of authorities, in 20 ms, to ask a local service without TLS.
httpx._transports.default.create_ssl_context = cache(httpx._transports.default.create_ssl_context)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A champion for 8x8 digits."""
    return bundles.write(tmp_path / "champion", bundles.weights(bundles.DIGITS))


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    """A champion for a table of four features."""
    return bundles.write(tmp_path / "champion", bundles.weights(bundles.IRIS))


async def unused_application(scope: Scope, receive: Receive, send: Send) -> None:
    """In place of BentoML's application, which gets no HTTP requests."""
    raise AssertionError(scope["path"])


@dataclass
class Local:
    """The application in this process: `post` and `get` go through ASGI without a socket."""

    worker: Worker
    application: Application

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.many(("POST", path, options))[0]

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.many(("GET", path, options))[0]

    def many(self, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        """Several requests at the same time."""

        async def go() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.application, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await asyncio.gather(*(client.request(verb, path, **rest) for verb, path, rest in requests))

        responses = asyncio.run(go())
        document = openapi_document(self.worker)
        for response in responses:
            check_documented(response, document)
        return responses


def openapi_document(worker: Worker) -> dict[str, Any]:
    settings = worker.settings
    paths = routes.paths(settings.model_name)
    return openapi.document(worker.champion, settings.max_batch, settings.max_files, paths)


def check_documented(response: httpx.Response, document: dict[str, Any]) -> None:
    """Status, media type and body of the response are those that the OpenAPI document names."""
    path = re.sub("/versions/[^/]+", "/versions/{version}", response.request.url.path)
    operation = document["paths"].get(path, {}).get(response.request.method.lower())
    if operation is None:
        return
    documented = operation["responses"][str(response.status_code)]["content"]
    media_type = response.headers["content-type"].partition(";")[0]
    schema = documented[media_type]["schema"]
    if media_type == "application/json":
        jsonschema.Draft4Validator(schema | {"components": document["components"]}).validate(response.json())


def make_local(folder: Path, **changes: Any) -> Local:
    """The application for a champion's folder and settings."""
    settings = Settings(champion=folder, **changes)
    worker = Worker(settings, Metrics(CollectorRegistry()))
    worker.ready = True
    return Local(worker, Application(unused_application, settings, lambda: worker))


@pytest.fixture
def local() -> Callable[..., Local]:
    """Makes a Local for a champion's folder and settings."""
    return make_local


@dataclass
class Served:
    """A served process: its address and its first process."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path


def environment(home: Path, **changes: str) -> dict[str, str]:
    """An environment without BentoML or Tandem settings of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TANDEM_", "BENTOML_"))}
    return kept | {"BENTOML_HOME": str(home), "PYTHONUNBUFFERED": "1"} | changes


@contextlib.contextmanager
def serve(folder: Path, home: Path, **changes: str) -> Iterator[Served]:
    """The champion in `folder`, served from the source."""
    with running("serving.service:Tandem", ROOT, home, TANDEM_CHAMPION=str(folder), **changes) as served:
        yield served


@contextlib.contextmanager
def running(
    target: str,
    directory: Path,
    home: Path,
    host: str = "127.0.0.1",
    given: bool = True,
    program: Sequence[str] = ("-m", "bentoml"),
    **changes: str,
) -> Iterator[Served]:
    """`bentoml serve` of a service or a Bento on a free port, ready; ended by its process id with all below it.

    `host` is passed as an option if `given`; otherwise it is where the service is expected.
    """
    port = free_port()
    options = ["--host", host] if given else []
    command = [sys.executable, *program, "serve", target, *options, "--port", str(port)]
    output = home / "output.txt"
    home.mkdir(parents=True, exist_ok=True)
    variables = environment(home, **changes)
    with output.open("wb") as stream:
        process = subprocess.Popen(command, cwd=directory, env=variables, stdout=stream, stderr=subprocess.STDOUT)
    try:
        wait_until_ready(f"http://{host}:{port}", process, output)
        yield Served(f"http://{host}:{port}", process, output)
        below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
    assert psutil.wait_procs(below, timeout=PATIENCE)[1] == []  # workers, and the processes that decode images


def wait_until_ready(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"not ready:\n{output.read_text()}")


def wait_for(condition: Callable[[], Any]) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker with short time limits."""
    home = tmp_path_factory.mktemp("strict")
    folder = bundles.write(home / "champion", bundles.weights(bundles.DIGITS))
    limits = {"TIMEOUT": "2", "HEADER_TIMEOUT": "1", "WRITE_TIMEOUT": "1"}
    changes = {f"TANDEM_{name}_SECONDS": seconds for name, seconds in limits.items()}
    with serve(folder, home / "bentoml", TANDEM_WORKERS="1", TANDEM_MAX_CONNECTIONS="400", **changes) as running:
        yield running


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The digits champion, served by one worker as in the manifest. A test that changes it changes it back."""
    home = tmp_path_factory.mktemp("served")
    folder = bundles.write(home / "champion", bundles.weights(bundles.DIGITS))
    with serve(folder, home / "bentoml", TANDEM_WORKERS="1", TANDEM_POLL_SECONDS="0.1") as running:
        yield running
