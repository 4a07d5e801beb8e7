"""The service started from the command line, over HTTP."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bentoml
import httpx
import numpy as np
import psutil
import pytest
import uvicorn

from models.onnx.session import CPU, CUDA
from serving.errors import RequestError
from tests.serving.api.test_predict import png
from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.conftest import PATIENCE, ROOT, Local, Served, environment, running, unused_application, wait_for

FRAMEWORKS = ("torch", "tensorflow", "keras", "mlflow", "dvc", "pipelines", "sklearn")
# Any report of usage would go through httpx.post.
WATCHED = """
import sys, httpx
httpx.post = lambda *args, **options: print("REPORTED", args)
from bentoml_cli.cli import cli
cli(sys.argv[1:])
"""
# Hidden GPUs let ONNX Runtime fail as a CUDA library does that cannot be loaded.
THREE_CORES = """
import os, sys
os.environ["CUDA_VISIBLE_DEVICES"] = ""
from models.onnx import session
from serving.process import cores, preflight
cores.available = lambda: 3
{change}
from bentoml_cli.cli import cli
cli(sys.argv[1:])
"""


def start(folder: Path, home: Path, *command: str, **changes: str) -> subprocess.CompletedProcess[str]:
    variables = environment(home, TANDEM_CHAMPION=str(folder), **changes)
    arguments = [sys.executable, *command, "serve", "serving.service:Tandem", "--port", "1"]
    return subprocess.run(
        arguments, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_predictions_over_http(served: Served) -> None:
    inputs = raw(DIGITS, 3)
    response = httpx.post(f"{served.url}/predict", json={"inputs": inputs.tolist()})
    found = [list(row["probabilities"].values()) for row in response.json()["predictions"]]
    np.testing.assert_allclose(found, weights(DIGITS).expected(inputs), atol=1e-6)


def test_grpc_is_not_loaded_without_a_port(served: Served) -> None:
    (worker,) = psutil.Process(served.process.pid).children()
    assert [each.path for each in worker.memory_maps() if "onnxruntime" in each.path]
    assert not [each.path for each in worker.memory_maps() if "grpc" in each.path]


def test_the_typed_client(served: Served, tmp_path: Path) -> None:
    inputs = raw(DIGITS, 2)
    picture = tmp_path / "picture.png"
    picture.write_bytes(png(inputs[0][..., 0]))
    with bentoml.SyncHTTPClient(served.url) as client:
        batch: dict[str, Any] = client.predict(inputs=inputs.tolist(), top_k=1)
        image: dict[str, Any] = client.predict_image(files=[picture], top_k=1)
    assert image["predictions"] == batch["predictions"][:1]


def test_predictions_in_process(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_CHAMPION", str(digits))
    from serving.service import Tandem

    service = Tandem()
    inputs = raw(DIGITS, 2)
    picture = tmp_path / "picture.png"
    picture.write_bytes(png(inputs[0][..., 0]))

    async def both() -> list[Any]:
        return [await service.predict(inputs=inputs.tolist()), await service.predict_image(files=[picture])]

    batch, image = asyncio.run(both())
    assert image.predictions == batch.predictions[:1]
    with pytest.raises(RequestError, match="files: found none"):
        asyncio.run(service.predict_image(files=[]))


def test_a_worker_is_not_ready_while_it_stops(
    digits: Path, local: Callable[..., Local], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_CHAMPION", str(digits))
    from serving import service

    worker = local(digits)
    monkeypatch.setattr(service, "_worker", lambda: worker.worker)
    monkeypatch.setattr(uvicorn, "Server", uvicorn.Server)  # which is replaced
    service.Tandem.to_asgi()
    config = uvicorn.Config(unused_application, lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.servers, server.lifespan = [], config.lifespan_class(config)
    assert worker.get("/readyz").status_code == 200
    asyncio.run(server.shutdown())
    assert worker.get("/readyz").status_code == 503


@pytest.mark.parametrize("path", ["/model", "/livez", "/readyz", "/healthz", "/metrics", "/docs", "/docs.json"])
def test_information_over_http(served: Served, path: str) -> None:
    assert httpx.get(served.url + path).status_code == 200


def test_a_new_champion_is_served_without_a_restart(served: Served) -> None:
    folder, before = served.output.parents[1] / "champion", swaps(served)
    write(folder, weights(DIGITS, 5), "2")
    wait_for_version(served, "2")
    inputs = raw(DIGITS, 2)
    response = httpx.post(f"{served.url}/predict", json={"inputs": inputs.tolist()})
    found = [list(row["probabilities"].values()) for row in response.json()["predictions"]]
    np.testing.assert_allclose(found, weights(DIGITS, 5).expected(inputs), atol=1e-6)
    assert swaps(served) == before + 1
    write(folder, weights(DIGITS), "1")
    wait_for_version(served, "1")


def swaps(served: Served) -> float:
    """The number of champions that have replaced another one."""
    counters = httpx.get(f"{served.url}/metrics").text
    found = re.search(r'^tandem_champions_total\{result="swapped"\} (\S+)$', counters, re.MULTILINE)
    return float(found[1]) if found else 0.0


def wait_for_version(served: Served, version: str) -> None:
    """Wait until the champion of this version answers."""
    deadline = time.monotonic() + PATIENCE
    while httpx.get(f"{served.url}/model").json()["version"] != version:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_challenger_that_does_not_exist_is_an_error_of_one_line(digits: Path, tmp_path: Path) -> None:
    ended = start(digits, tmp_path, "-m", "bentoml", TANDEM_CHALLENGER="nowhere")
    assert ended.returncode != 0
    assert "TANDEM_CHALLENGER: nowhere: no such folder" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_corrupt_champion_is_not_served(digits: Path, tmp_path: Path) -> None:
    next(digits.glob("*.onnx")).write_bytes(b"other")
    ended = start(digits, tmp_path, "-m", "bentoml")
    assert ended.returncode != 0
    assert "SHA-256" in ended.stderr


@pytest.mark.parametrize("wish", [None, "False"])
def test_no_telemetry_unless_enabled(tmp_path: Path, wish: str | None) -> None:
    changes = {} if wish is None else {"BENTOML_DO_NOT_TRACK": wish}
    ended = start(tmp_path / "none", tmp_path, "-c", WATCHED, **changes)
    assert ended.returncode != 0
    assert "uv run dvc repro" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert ("REPORTED" in ended.stdout) == (wish == "False")


@pytest.mark.parametrize(
    ("change", "wish", "count", "provider"),
    [
        ("session.has_nvidia_driver = lambda: True", "0", 3, CPU),
        (f"preflight.check = lambda settings: {CUDA!r}", "0", 2, CUDA),
        (f"preflight.check = lambda settings: {CUDA!r}", "1.0", 1, CUDA),
    ],
)
def test_the_number_of_workers_follows_the_device_in_use(
    change: str, wish: str, count: int, provider: str, digits: Path, tmp_path: Path
) -> None:
    """With three cores, a driver, and a GPU that cannot be used in the first case. The setting may be a whole float."""
    variables = {"TANDEM_CHAMPION": str(digits), "TANDEM_WORKERS": wish}
    code = THREE_CORES.format(change=change)
    with running("serving.service:Tandem", ROOT, tmp_path, program=("-c", code), **variables) as served:
        assert f"workers: {count}, on {provider}" in served.output.read_text("utf-8")
        wait_for(lambda: len(psutil.Process(served.process.pid).children()) == count)


def test_serving_needs_no_framework() -> None:
    modules = "sys, serving.service, serving.process.registry_sync"
    code = f"import {modules}; print([name for name in {FRAMEWORKS} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
