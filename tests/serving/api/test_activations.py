"""`POST /predict/activations`: one image in, small maps out."""

import asyncio
import io
import threading
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.api import activations
from serving.inference.graph_layers import Layer
from serving.worker import MAX_ACTIVATIONS
from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.conftest import PATIENCE, Local

PATH = "/predict/activations"
PNG = {"content-type": "image/png"}


def picture() -> tuple[np.ndarray, bytes]:
    pixels = raw(DIGITS, 1)
    stream = io.BytesIO()
    Image.fromarray(pixels[0, ..., 0]).save(stream, "PNG")
    return pixels, stream.getvalue()


def test_the_bytes_are_the_values_of_the_layers(digits: Path, local: Callable[..., Local]) -> None:
    pixels, content = picture()
    response = local(digits).post(PATH, content=content, headers=PNG)
    assert response.status_code == 200
    assert response.json()["model"] == {"name": "torch-cnn", "version": "1"}
    (layer,) = response.json()["layers"]
    assert (layer["name"], layer["operator"]) == ("logits", "Gemm")
    assert (layer["shape"], layer["shown"]) == ([10], [10, 1, 1])
    low, high = layer["range"]
    logits = low + (high - low) * np.frombuffer(b64decode(layer["values"]), np.uint8) / 255
    shares = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(shares, weights(DIGITS).expected(pixels)[0], atol=0.05)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"no picture", "image/png", 400),
        (b"", "image/png", 400),
        (picture()[1][:40], "application/octet-stream", 400),
        (b'{"inputs": []}', "application/json", 415),
        (picture()[1], "multipart/form-data", 415),
        (b"x" * 5000, "image/png", 413),
    ],
)
def test_invalid_images_are_rejected(
    content: bytes, kind: str, status: int, digits: Path, local: Callable[..., Local]
) -> None:
    here = local(digits, max_body_bytes=4096)
    response = here.post(PATH, content=content, headers={"content-type": kind})
    assert response.status_code == status
    assert response.json()["error"]


def test_table_models_have_no_activations(iris: Path, local: Callable[..., Local]) -> None:
    here = local(iris)
    assert here.post(PATH, content=picture()[1], headers=PNG).status_code == 409
    assert PATH not in here.get("/docs.json").json()["paths"]


def test_activations_are_those_of_the_current_champion(digits: Path, local: Callable[..., Local]) -> None:
    here, content = local(digits), picture()[1]
    write(digits, weights(DIGITS, 2), "2")  # the old one is served until the next poll
    refused = here.post(PATH, content=content, headers=PNG)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    asyncio.run(here.worker.reloader.poll())
    assert here.post(PATH, content=content, headers=PNG).json()["model"]["version"] == "2"


def test_layers_are_opened_on_demand(digits: Path, local: Callable[..., Local]) -> None:
    here = local(digits)
    assert here.post("/predict/image", content=picture()[1], headers=PNG).status_code == 200
    assert here.worker.activations.opened == ""
    assert here.post(PATH, content=picture()[1], headers=PNG).status_code == 200
    assert here.worker.activations.opened == here.worker.champion.sha256


def test_requests_that_wait_are_limited_and_no_load_for_predictions(digits: Path, local: Callable[..., Local]) -> None:
    here = local(digits, max_wait_seconds=1e-9)  # eight requests in flight, of which one is measured, are too many
    compute, go = here.worker.activations.compute, threading.Event()
    here.worker.activations.compute = lambda *given: (go.wait(PATIENCE), compute(*given))[1]  # type: ignore[method-assign]
    request = ("POST", PATH, {"content": picture()[1], "headers": PNG})

    async def run() -> tuple[list[httpx.Response], list[httpx.Response]]:
        transport = httpx.ASGITransport(here.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            async def send(method: str, path: str, options: dict[str, Any]) -> httpx.Response:
                return await client.request(method, path, **options)

            waiting = [asyncio.create_task(send(*request)) for _ in range(MAX_ACTIVATIONS + 4)]
            while sum(task.done() for task in waiting) < 4:
                await asyncio.sleep(0.01)
            predicted = [await send("POST", "/predict/image", request[2]) for _ in range(3)]
            go.set()
            return predicted, await asyncio.gather(*waiting)

    predicted, activations = asyncio.run(run())
    assert [response.status_code for response in predicted] == [200] * 3
    assert sorted(response.status_code for response in activations) == [200] * MAX_ACTIVATIONS + [503] * 4
    refused = next(response for response in activations if response.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"].startswith("16 requests for activations are in progress")
    assert here.worker.load.in_flight == 0


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((100, 224, 200), [32, 32, 29]), ((3, 4, 5), [3, 4, 5]), ((5000,), [1024, 1, 1]), ((7, 9), [63, 1, 1])],
)
def test_large_layers_are_subsampled(shape: tuple[int, ...], shown: list[int]) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    written = activations.write(Layer("Conv_1", "Conv", values))
    assert written["shown"] == shown
    assert len(b64decode(written["values"])) == np.prod(shown)


def test_a_constant_layer_is_zero() -> None:
    written = activations.write(Layer("Relu_1", "Relu", np.zeros((2, 3, 3), np.float32)))
    assert b64decode(written["values"]) == bytes(18)
