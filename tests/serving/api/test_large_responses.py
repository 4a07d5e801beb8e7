"""Responses that are much larger than their requests: their content, their limit, and the memory for them."""

import asyncio
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.api import large_responses, predictions
from serving.http import messages
from serving.inference import champion
from tests.serving.api.test_inference_protocol import binary, outputs, tensor
from tests.serving.api.test_predict import Failing
from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.conftest import Local

Make = Callable[..., Local]
LABELS = tuple(f"class {number}" for number in range(100))
MANY = replace(DIGITS, labels=LABELS)
INFER = "/v2/models/tandem/infer"
TYPE = "application/json"
IMAGES = raw(DIGITS, 50)
PREDICT = {"json": {"inputs": IMAGES[..., 0].tolist()}}
TENSOR: dict[str, Any] = {"json": {"inputs": [tensor(IMAGES, data=IMAGES.ravel().tolist())], "id": "mine"}}
EXPECTED = weights(MANY).expected(IMAGES)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion with a hundred labels."""
    return write(tmp_path_factory.mktemp("many"), weights(MANY))


def send(service: Local, *requests: tuple[str, dict[str, Any]]) -> list[httpx.Response]:
    """The responses to requests at the same time; without a comparison with the document, which takes long."""

    async def go() -> list[httpx.Response]:
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.post(path, **options) for path, options in requests))

    return asyncio.run(go())


def top(count: int) -> dict[str, Any]:
    return {"json": PREDICT["json"] | {"top_k": count}}


def test_large_responses_are_complete(many: Path, local: Make) -> None:
    service = local(many)
    predicted, best, as_json, as_bytes = send(
        service, ("/predict", PREDICT), ("/predict", top(3)), (INFER, TENSOR), (INFER, binary(IMAGES))
    )
    rows = predicted.json()["predictions"]
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in rows], EXPECTED, rtol=1e-4, atol=1e-7)
    assert [row["label"] for row in rows] == [LABELS[index] for index in EXPECTED.argmax(axis=1)]
    assert list(rows[0]["probabilities"]) == list(LABELS)
    assert predicted.json()["model"] == as_json.json().get("model", {"name": "torch-cnn", "version": "1"})
    assert [next(iter(row["probabilities"])) for row in best.json()["predictions"]] == [row["label"] for row in rows]
    assert as_json.json()["id"] == "mine"
    for response in (as_json, as_bytes):
        np.testing.assert_allclose(outputs(response), EXPECTED, rtol=1e-4, atol=1e-7)
    for response in (predicted, best, as_json, as_bytes):
        assert response.headers["x-model-version"] == "1"
        assert int(response.headers["content-length"]) == len(response.content)
    assert service.worker.response_budget.available == service.worker.response_budget.total


def test_the_bounds_of_the_sizes(many: Path, local: Make) -> None:
    model = champion.load(many, "cpu")
    service = local(many)
    for request, count in ((PREDICT, None), (top(2), 2)):
        size = len(send(service, ("/predict", request))[0].content)
        assert size < predictions.response_bytes(len(IMAGES), model, count) < 2.5 * size
    numbers = [3.4028235e38, -1.17549435e-38, -1.4e-45] * 1000
    assert len(json.dumps(np.float32(numbers).tolist())) < 28 * 3000


def test_other_requests_are_answered_between_two_parts(
    many: Path, local: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = local(many)

    async def turns(request: tuple[str, str, dict[str, Any]]) -> int:
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            method, path, options = request
            task = asyncio.create_task(client.request(method, path, **options))
            count = 0
            while not task.done():
                count += 1
                await asyncio.sleep(0)
            assert task.result().status_code == 200
            return count

    monkeypatch.setattr(large_responses, "BLOCK_VALUES", len(LABELS))
    for request in (("POST", "/predict", PREDICT), ("POST", INFER, TENSOR)):
        assert asyncio.run(turns(request)) > len(IMAGES)


REFUSED = {
    "predict": ("/predict", {"json": {"inputs": raw(DIGITS, 80)[..., 0].tolist()}}),
    "infer": (INFER, {"json": {"inputs": [tensor(raw(DIGITS, 130), data=raw(DIGITS, 130).tolist())]}}),
    "binary": (INFER, binary(raw(DIGITS, 260))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_response_above_the_limit_is_refused_before_the_model_runs(many: Path, local: Make, name: str) -> None:
    path, options = REFUSED[name]
    service = local(many, max_response_bytes=300_000)
    good = service.worker.champion
    service.worker.reloader.champion = replace(good, predictor=Failing())  # type: ignore[arg-type]
    response = service.post(path, **options)
    assert response.status_code == 413
    assert response.json()["error"].startswith("the response takes up to ")
    assert "; allowed: 0.3 MB; send fewer examples" in response.json()["error"]
    assert service.worker.response_budget.available == service.worker.response_budget.total
    assert service.worker.load.in_flight == 0


def test_memory_for_responses_in_progress(many: Path, local: Make) -> None:
    """There is memory for four of the largest size."""
    model = champion.load(many, "cpu")
    size = predictions.response_bytes(len(IMAGES), model, None) + 8 * EXPECTED.size
    service = local(many, max_response_bytes=size)
    statuses = [response.status_code for response in send(service, *[("/predict", PREDICT)] * 7)]
    assert sorted(statuses) == [200] * 4 + [503] * 3
    assert service.worker.response_budget.available == 4 * size
    assert send(service, ("/predict", PREDICT))[0].status_code == 200


def test_pixels_count_in_the_size_of_a_response(digits: Path, local: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once before and once after they are written as JSON."""
    monkeypatch.setattr(large_responses, "SMALL_BYTES", 100)
    encoded = io.BytesIO()
    Image.fromarray(raw(DIGITS, 1)[0, ..., 0]).save(encoded, "PNG")
    files = [("files", ("a.png", encoded.getvalue(), "image/png"))] * 2
    size = predictions.response_bytes(2, champion.load(digits, "cpu"), None) + 8 * 2 * 10 + 2 * 2 * (88 + 3)
    for allowed, options, status in ((size, "?pixels=1", 200), (size - 1, "?pixels=1", 413), (size - 1, "", 200)):
        service = local(digits)
        service.worker.settings = service.worker.settings.model_copy(update={"max_response_bytes": allowed})
        (response,) = send(service, ("/predict/image" + options, {"files": files}))
        assert response.status_code == status
        assert len(response.json().get("pixels", ())) == (2 if options and status == 200 else 0)
        assert service.worker.response_budget.available == service.worker.response_budget.total


def test_labels_that_are_escaped_count_as_they_are_written(tmp_path: Path, local: Make) -> None:
    labels = tuple("\x01" * 100 + str(number) for number in range(10))
    folder = write(tmp_path, weights(replace(DIGITS, labels=labels)))
    size = len(send(local(folder), ("/predict", PREDICT))[0].content)
    assert size < predictions.response_bytes(len(IMAGES), champion.load(folder, "cpu"), None)


def test_a_client_that_reads_slowly_has_a_time_limit(many: Path, local: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "READ_SECONDS", 0.2)
    monkeypatch.setattr(messages, "READ_RATE", 1e9)
    service = local(many)
    content = json.dumps(PREDICT["json"]).encode()
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b""}
    headers = [(b"content-type", TYPE.encode()), (b"content-length", str(len(content)).encode())]
    sent: list[dict[str, Any]] = []
    held: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content}

    async def send(message: Any) -> None:
        held.append(service.worker.response_budget.total - service.worker.response_budget.available)
        if sent:
            await asyncio.sleep(20)
        sent.append(message)

    asyncio.run(service.application(scope | {"headers": headers}, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert min(held) > 200_000
    assert service.worker.response_budget.available == service.worker.response_budget.total
    assert 'tandem_rejections_total{reason="unread"} 1.0' in service.get("/metrics").text
