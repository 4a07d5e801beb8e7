"""Predictions through the application: the numbers, the formats, the headers."""

import base64
import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.images.structure import Structure
from tests.serving.bundles import DIGITS, HOUSES, IRIS, PRICES, raw, weights, write
from tests.serving.conftest import Local

Make = Callable[..., Local]


def probabilities(response: dict[str, object]) -> np.ndarray:
    rows = response["predictions"]
    assert isinstance(rows, list)
    return np.array([list(row["probabilities"].values()) for row in rows])


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("channels", [True, False])
def test_a_batch_of_images(digits: Path, local: Make, count: int, channels: bool) -> None:
    inputs = raw(DIGITS, count)
    response = local(digits).post("/predict", json={"inputs": (inputs if channels else inputs[..., 0]).tolist()})
    expected = weights(DIGITS).expected(inputs)
    assert response.status_code == 200
    np.testing.assert_allclose(probabilities(response.json()), expected, atol=1e-6)
    assert [row["label"] for row in response.json()["predictions"]] == [str(i) for i in expected.argmax(axis=1)]
    assert response.json()["model"] == {"name": "torch-cnn", "version": "1"}


def test_top_k_returns_the_largest_in_order(digits: Path, local: Make) -> None:
    inputs = raw(DIGITS, 2)
    response = local(digits).post("/predict", json={"inputs": inputs.tolist(), "top_k": 3}).json()
    expected = -np.sort(-weights(DIGITS).expected(inputs), axis=1)[:, :3]
    np.testing.assert_allclose(probabilities(response), expected, atol=1e-6)
    first = response["predictions"][0]
    assert next(iter(first["probabilities"])) == first["label"]


@pytest.mark.parametrize("as_objects", [True, False])
def test_table_rows_as_objects_or_lists(iris: Path, local: Make, as_objects: bool) -> None:
    inputs = raw(IRIS, 3)
    rows = [dict(zip(reversed(IRIS.features), reversed(row), strict=True)) for row in inputs.tolist()]
    response = local(iris).post("/predict", json={"inputs": rows if as_objects else inputs.tolist()})
    np.testing.assert_allclose(probabilities(response.json()), weights(IRIS).expected(inputs), atol=1e-6)


def test_regression_returns_values(tmp_path: Path, local: Make) -> None:
    inputs = raw(PRICES, 3)
    response = local(write(tmp_path, weights(PRICES))).post("/predict", json={"inputs": inputs.tolist()}).json()
    values = [row["value"] for row in response["predictions"]]
    np.testing.assert_allclose(values, weights(PRICES).expected(inputs)[:, 0], rtol=1e-5)
    assert response["predictions"][0]["target"] == "price"


def test_a_regression_has_no_top_k(tmp_path: Path, local: Make) -> None:
    body = {"inputs": raw(PRICES, 1).tolist(), "top_k": 1}
    response = local(write(tmp_path, weights(PRICES))).post("/predict", json=body)
    assert response.status_code == 400
    assert response.json()["error"] == "top_k: this model returns a number, no labels; allowed: no top_k"


def test_images_as_a_form_and_as_a_body(digits: Path, local: Make) -> None:
    inputs = raw(DIGITS, 2)
    files = [("files", (f"{i}.png", png(one[..., 0]), "image/png")) for i, one in enumerate(inputs)]
    service = local(digits)
    form = service.post("/predict/image?pixels=1", files=files).json()
    np.testing.assert_allclose(probabilities(form), weights(DIGITS).expected(inputs), atol=1e-6)
    assert [base64.b64decode(one) for one in form["pixels"]] == [one.tobytes() for one in inputs]
    assert service.worker.response_budget.available == service.worker.response_budget.total
    body = service.post("/predict/image", content=files[1][1][1], headers={"content-type": "image/png"}).json()
    np.testing.assert_allclose(probabilities(body)[0], probabilities(form)[1], atol=1e-6)


def test_a_large_photograph_is_accepted(digits: Path, local: Make) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    response = local(digits).post("/predict/image?top_k=2", content=png(noise), headers={"content-type": "image/png"})
    assert response.status_code == 200
    assert len(response.json()["predictions"][0]["probabilities"]) == 2


def test_many_pixels_in_few_bytes_are_decoded_beside_the_loop(digits: Path, local: Make) -> None:
    service = local(digits)
    decode, calls = service.worker.image_decoder.decode, []

    def count(structures: Sequence[Structure], *more: Any) -> Awaitable[np.ndarray]:
        calls.append(len(structures))
        return decode(structures, *more)

    service.worker.image_decoder.decode = count  # type: ignore[assignment,method-assign]
    large, small = (png(np.zeros((side, side), np.uint8)) for side in (1000, 8))
    assert len(large) < 10_000
    for content in (small, large):
        assert service.post("/predict/image", content=content, headers={"content-type": "image/png"}).is_success
        assert calls == ([1] if content is large else [])


def test_headers_of_every_response(digits: Path, local: Make) -> None:
    service = local(digits)
    body = {"inputs": raw(DIGITS, 1).tolist()}
    response = service.post("/predict", json=body, headers={"x-request-id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-model-version"] == "1"
    assert response.headers["server-timing"].startswith("queue;dur=")
    made = [service.post("/predict", json=body, headers={"x-request-id": bad}) for bad in ("", "a b", "x" * 200)]
    assert len({one.headers["x-request-id"] for one in made}) == 3
    assert not {"a b", "x" * 200} & {one.headers["x-request-id"] for one in made}


def test_concurrent_requests_are_batched(digits: Path, local: Make) -> None:
    inputs = raw(DIGITS, 40)
    service = local(digits)
    responses = service.many(*(("POST", "/predict", {"json": {"inputs": [one.tolist()]}}) for one in inputs))
    found = np.concatenate([probabilities(response.json()) for response in responses])
    np.testing.assert_allclose(found, weights(DIGITS).expected(inputs), atol=1e-6)
    service.worker.metrics.flush()
    runs = service.worker.metrics.registry.get_sample_value("tandem_run_rows_count")
    assert runs is not None
    assert runs < 40


def test_a_slow_model_runs_in_its_thread(digits: Path, local: Make) -> None:
    service = local(digits)
    service.worker.reloader.champion = replace(service.worker.champion, inline=False)
    inputs = raw(DIGITS, 6)
    responses = service.many(*(("POST", "/predict", {"json": {"inputs": [one.tolist()]}}) for one in inputs))
    found = np.concatenate([probabilities(response.json()) for response in responses])
    np.testing.assert_allclose(found, weights(DIGITS).expected(inputs), atol=1e-6)


@pytest.mark.parametrize("inline", [True, False])
def test_a_failed_run_fails_its_requests_and_no_others(digits: Path, local: Make, inline: bool) -> None:
    service = local(digits)
    good = service.worker.champion
    service.worker.reloader.champion = replace(good, inline=inline, predictor=Failing())  # type: ignore[arg-type]
    body = {"json": {"inputs": raw(DIGITS, 1).tolist()}}
    responses = service.many(*[("POST", "/predict", body)] * 3)
    assert [response.status_code for response in responses] == [500] * 3
    assert "secret" not in responses[0].text
    service.worker.reloader.champion = replace(good, inline=inline)
    assert service.post("/predict", **body).status_code == 200


class Failing:
    """A predictor that fails."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        raise RuntimeError("secret")


def test_model_information(digits: Path, local: Make) -> None:
    found = local(digits).get("/model").json()
    assert found["version"] == "1"
    assert found["provider"] == "CPUExecutionProvider"
    assert found["provenance"]["data_sha256"] == "ab" * 32
    assert found["metrics"]["accuracy"] == 0.98


@pytest.mark.parametrize("spec", [DIGITS, IRIS, PRICES, HOUSES], ids=lambda spec: spec.name)
def test_the_documentation_has_an_example_that_works(tmp_path: Path, local: Make, spec: object) -> None:
    service = local(write(tmp_path, weights(spec)))  # type: ignore[arg-type]
    document = service.get("/docs.json").json()
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert service.post("/predict", json=example).status_code == 200
    assert ("/predict/image" in document["paths"]) == (spec is DIGITS)


def test_pages_load_no_external_resources(digits: Path, local: Make) -> None:
    service = local(digits)
    for path in ("/docs", "/docs.js"):
        response = service.get(path)
        assert response.status_code == 200
        assert "http" not in response.text.replace("http-equiv", "")
        assert "default-src 'none'" in response.headers["content-security-policy"]
