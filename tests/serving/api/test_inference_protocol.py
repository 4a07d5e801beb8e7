"""The Open Inference Protocol: metadata, health, tensors as JSON and as raw data, and wrong headers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models.spec import DataSpec
from tests.serving.api.test_predict import Failing
from tests.serving.bundles import DIGITS, IRIS, PRICES, raw, weights, write
from tests.serving.conftest import Local

Make = Callable[..., Local]
INFER = "/v2/models/tandem/infer"
TYPES = {"uint8": "UINT8", "float32": "FP32"}


def tensor(inputs: np.ndarray, spec: DataSpec = DIGITS, **changes: Any) -> dict[str, Any]:
    return {"name": spec.input_name, "datatype": TYPES[spec.dtype], "shape": list(inputs.shape)} | changes


def binary(inputs: np.ndarray, spec: DataSpec = DIGITS, **changes: Any) -> dict[str, Any]:
    """The options of a request with raw data in both directions."""
    held = tensor(inputs, spec, parameters={"binary_data_size": inputs.nbytes}) | changes
    header = json.dumps({"inputs": [held], "parameters": {"binary_data_output": True}}).encode()
    headers = {"inference-header-content-length": str(len(header)), "content-type": "application/octet-stream"}
    return {"content": header + inputs.tobytes(), "headers": headers}


def outputs(response: httpx.Response) -> np.ndarray:
    """The output in a response, JSON or raw."""
    length = int(response.headers.get("inference-header-content-length", len(response.content)))
    output = json.loads(response.content[:length])["outputs"][0]
    if "data" in output:
        return np.array(output["data"], np.float32).reshape(output["shape"])
    assert output["parameters"]["binary_data_size"] == len(response.content) - length
    return np.frombuffer(response.content[length:], np.float32).reshape(output["shape"])


@pytest.mark.parametrize("spec", [DIGITS, IRIS, PRICES], ids=lambda spec: spec.name)
@pytest.mark.parametrize("count", [1, 2, 7, 200])
def test_json_and_raw_data_agree(tmp_path: Path, local: Make, spec: DataSpec, count: int) -> None:
    service = local(write(tmp_path, weights(spec)))
    inputs = raw(spec, count)
    flat = {"inputs": [tensor(inputs, spec, data=inputs.ravel().tolist())], "id": "mine"}
    nested = {"inputs": [tensor(inputs, spec, data=inputs.tolist())], "outputs": [{"name": spec.output_name}]}
    empty = nested | {"outputs": []}
    bodies = (flat, nested, empty)
    responses = service.many(*(("POST", INFER, {"json": body}) for body in bodies))
    responses += service.many(("POST", INFER, binary(inputs, spec)))
    for response in responses:
        assert response.status_code == 200, response.text
        np.testing.assert_allclose(outputs(response), weights(spec).expected(inputs), rtol=1e-4, atol=1e-6)
    assert responses[0].json()["id"] == "mine"
    assert responses[0].json()["model_version"] == "1"


def test_metadata_and_health(digits: Path, local: Make) -> None:
    service = local(digits)
    found = service.get("/v2/models/tandem").json()
    assert found["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}]
    assert found["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}]
    assert found["versions"] == ["1"]
    assert "binary_tensor_data" in service.get("/v2").json()["extensions"]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/tandem/ready", "/v2/models/tandem/versions/1"):
        assert service.get(path).status_code == 200
    for path in ("/v2/models/other", "/v2/models/tandem/versions/7/ready", "/v2/models/tandem/x", "/v2/models//infer"):
        assert service.get(path).status_code == 404


IMAGE = raw(DIGITS, 2)
SIZE = {"binary_data_size": IMAGE.nbytes}
BAD: dict[str, dict[str, Any]] = {
    "size too small": binary(IMAGE, parameters={"binary_data_size": 1}),
    "size too large": binary(IMAGE, parameters={"binary_data_size": 10**9}),
    "size negative": binary(IMAGE, parameters={"binary_data_size": -128}),
    "size overflowing": binary(IMAGE, parameters={"binary_data_size": 2**64}),
    "size true": binary(IMAGE[:1, :1, :1], parameters={"binary_data_size": True}),
    "size text": binary(IMAGE, parameters={"binary_data_size": "128"}),
    "shape larger than the bytes": binary(IMAGE, shape=[3, 8, 8, 1]),
    "shape smaller than the bytes": binary(IMAGE, shape=[1, 8, 8, 1]),
    "shape negative": binary(IMAGE, shape=[-2, 8, 8, 1]),
    "shape all negative": binary(IMAGE, shape=[2, -8, -8, 1]),
    "shape overflowing": binary(IMAGE, shape=[2**62, 8, 8, 1]),
    "shape zero": binary(IMAGE, shape=[0, 8, 8, 1]),
    "shape reordered": binary(IMAGE, shape=[2, 1, 8, 8]),
    "shape flat": binary(IMAGE, shape=[2, 64]),
    "shape of floats": binary(IMAGE, shape=[2.0, 8, 8, 1]),
    "shape true": binary(IMAGE, shape=[True, 8, 8, 1]),
    "shape missing": binary(IMAGE, shape=None),
    "too many": binary(IMAGE, shape=[5000, 8, 8, 1]),
    "wrong datatype": binary(IMAGE, datatype="FP32"),
    "unknown datatype": binary(IMAGE, datatype="BYTES"),
    "wrong name": binary(IMAGE, name="pixels"),
    "name of the wrong type": binary(IMAGE, name=["image"]),
    "parameters a list": binary(IMAGE, parameters=[1]),
    "data and bytes": binary(IMAGE, parameters={}, data=IMAGE.ravel().tolist()),
    "data and size": binary(IMAGE, data=IMAGE.ravel().tolist()),
    "input in shared memory": {
        "json": {"inputs": [tensor(IMAGE, data=IMAGE.tolist(), parameters={"shared_memory_region": "x"})]}
    },
    "output in shared memory": {
        "json": {
            "inputs": [tensor(IMAGE, data=IMAGE.tolist())],
            "outputs": [{"name": "probabilities", "parameters": {"shared_memory_region": "x"}}],
        }
    },
    "two outputs": {
        "json": {
            "inputs": [tensor(IMAGE, data=IMAGE.tolist())],
            "outputs": [{"name": "probabilities"}, {"name": "x"}],
        }
    },
    "data nowhere": {"json": {"inputs": [tensor(IMAGE)]}},
    "data too short": {"json": {"inputs": [tensor(IMAGE, data=[1, 2, 3])]}},
    "data too long": {"json": {"inputs": [tensor(IMAGE[:1], data=IMAGE.ravel().tolist())]}},
    "nested data too long": {"json": {"inputs": [tensor(IMAGE[:1], data=IMAGE.tolist())]}},
    "data of floats": {"json": {"inputs": [tensor(IMAGE, data=[0.5] * 128)]}},
    "data ragged": {"json": {"inputs": [tensor(IMAGE, data=[[1], [2, 3]])]}},
    "data empty": {"json": {"inputs": [tensor(IMAGE, data=[])]}},
    "no inputs": {"json": {"inputs": []}},
    "two inputs": {"json": {"inputs": [tensor(IMAGE, data=[1]), tensor(IMAGE, data=[1])]}},
    "input a number": {"json": {"inputs": [1]}},
    "list for a document": {"json": [1]},
    "no JSON": {"content": b"\xff\xfe"},
    "unknown output": {"json": {"inputs": [tensor(IMAGE, data=IMAGE.tolist())], "outputs": [{"name": "x"}]}},
    "classification": {
        "json": {
            "inputs": [tensor(IMAGE, data=IMAGE.tolist())],
            "outputs": [{"name": "probabilities", "parameters": {"classification": 3}}],
        }
    },
    "id a number": {"json": {"inputs": [tensor(IMAGE, data=IMAGE.tolist())], "id": 7}},
}
BAD_LENGTHS = ["0", "-1", "1", "99999999999999999999999999", "1e3", "abc", " ", "0x10", "12 12"]


@pytest.mark.parametrize("name", BAD)
def test_invalid_requests_are_rejected(digits: Path, local: Make, name: str) -> None:
    response = local(digits).post(INFER, **BAD[name])
    assert response.status_code == 400, response.text
    assert response.json()["error"]


def test_failures_are_counted_by_version(digits: Path, local: Make) -> None:
    service = local(digits)
    service.post(INFER, **binary(IMAGE))
    good = service.worker.champion
    service.worker.reloader.champion = replace(good, version="2", predictor=Failing())  # type: ignore[arg-type]
    assert service.post(INFER, **binary(IMAGE)).status_code == 500
    (failed,) = service.get("/v2/models/tandem/stats").json()["model_stats"]
    assert (failed["version"], failed["inference_count"], failed["inference_stats"]["fail"]["count"]) == ("2", 0, 1)
    service.worker.reloader.champion = good
    (served,) = service.get("/v2/models/stats").json()["model_stats"]
    assert (served["version"], served["inference_count"], served["inference_stats"]["fail"]["count"]) == ("1", 2, 0)
    assert served["inference_stats"]["success"]["count"] == served["execution_count"] == 1


@pytest.mark.parametrize(
    ("content", "status", "states"),
    [
        (b"", 200, ["UNAVAILABLE"]),
        (b"{}", 200, ["UNAVAILABLE"]),
        (b'{"ready": true}', 200, []),
        (b'{"ready": 1}', 400, None),
        (b"[]", 400, None),
    ],
)
def test_the_repository_index(digits: Path, local: Make, content: bytes, status: int, states: list[str] | None) -> None:
    service = local(digits)
    ready = service.post("/v2/repository/index", content=content)
    assert ready.status_code == status
    if states is not None:
        assert ready.json() == [{"name": "tandem", "version": "1", "state": "READY", "reason": ""}]
        service.worker.ready = False
        models = service.post("/v2/repository/index", content=content).json()
        assert [model["state"] for model in models] == states


@pytest.mark.parametrize("length", BAD_LENGTHS)
def test_wrong_header_lengths_are_rejected(digits: Path, local: Make, length: str) -> None:
    request = binary(IMAGE)
    request["headers"]["inference-header-content-length"] = length
    assert local(digits).post(INFER, **request).status_code == 400


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_raw_floats_must_be_finite(iris: Path, local: Make, value: float) -> None:
    inputs = raw(IRIS, 2)
    inputs[1, 2] = value
    assert local(iris).post(INFER, **binary(inputs, IRIS)).status_code == 400


def test_duplicate_keys_are_rejected(digits: Path, local: Make) -> None:
    body = (
        b'{"inputs": [], ' + json.dumps({"inputs": [tensor(IMAGE, DIGITS, data=IMAGE.ravel().tolist())]}).encode()[1:]
    )
    response = local(digits).post(INFER, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert "comes twice" in response.json()["error"]


def test_compressed_bodies_are_rejected(digits: Path, local: Make) -> None:
    request = binary(IMAGE)
    request["headers"]["content-encoding"] = "gzip"
    assert local(digits).post(INFER, **request).status_code == 415
