"""The OpenAPI document covers all routes, and its schemas accept what the handlers accept and nothing else."""

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import ref

import orjson
import pytest
from pydantic import ValidationError

from models.spec import DataSpec
from serving import routes
from serving.api import model_schemas, openapi, schemas, static_files
from serving.inference.champion import Champion
from serving.worker import Worker
from tests.serving.api.test_bad_input import DOCUMENTS, TABLES, body
from tests.serving.api.test_inference_protocol import BAD, binary, tensor
from tests.serving.api.test_table_rows import GOOD, REJECTED
from tests.serving.bundles import DIGITS, HOUSES, IRIS, PRICES, raw, weights, write
from tests.serving.conftest import Local, openapi_document

Make = Callable[..., Local]
MISMATCHED = ("data too short", "data too long", "nested data too long", "data empty")  # shape and data, each valid
OUTPUTS = ("unknown output", "two outputs", "classification", "input in shared memory", "output in shared memory")
SPECS = pytest.mark.parametrize("spec", [DIGITS, IRIS, PRICES, HOUSES], ids=lambda spec: spec.name)


def accepts(body_type: Any, spec: DataSpec, content: bytes) -> bool:
    """True if the body of a request conforms to its schema in the document."""
    try:
        model_schemas.narrowed(spec, 4096, 64)[body_type].model_validate_json(content, strict=True)
    except ValidationError:
        return False
    return True


@SPECS
def test_every_route_is_documented(tmp_path: Path, local: Make, spec: DataSpec) -> None:
    documented = openapi_document(local(write(tmp_path, weights(spec))).worker)["paths"]
    images = set() if spec.kind == "image" else {"/predict/image", "/predict/activations"}
    assert documented.keys() == routes.paths("tandem").keys() - static_files.FILES.keys() - images
    operations = [operation for methods in documented.values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["tags"]
        assert {"200", "400", "408", "413", "414", "431", "500", "503"} <= operation["responses"].keys()
        assert all(response["content"] for response in operation["responses"].values())
        assert ("401" in operation["responses"]) == ("security" not in operation)


def test_the_document_is_generated_once_for_each_champion(
    digits: Path, local: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ask for it, as generating it takes long and needs no key."""
    service, generated, write_document = local(digits, api_key="key"), [], openapi._write

    def write(worker: Worker, champion: Champion, named: bool, paths: openapi.Routes) -> bytes:
        generated.append((champion.version, named))
        return write_document(worker, champion, named, paths)

    monkeypatch.setattr(openapi, "_write", write)
    anonymous, named = ("GET", "/docs.json", {}), ("GET", "/docs.json", {"headers": {"x-api-key": "key"}})
    for _ in range(2):
        assert len({response.content for response in service.many(*[anonymous, named] * 5)}) == 2
    replaced = ref(service.worker.champion)
    service.worker.reloader.champion = replace(service.worker.champion, version="2")
    gc.collect()
    assert replaced() is None  # the documents do not keep it in memory
    assert service.get("/docs.json").json()["info"]["version"] == "2"
    assert sorted(generated) == [("1", False), ("1", True), ("2", False)]


def test_raw_data_are_documented(digits: Path, local: Make) -> None:
    service = local(digits)
    operation = openapi_document(service.worker)["paths"]["/v2/models/tandem/infer"]["post"]
    raw_data = {"schema": {"type": "string", "format": "binary"}}
    assert operation["requestBody"]["content"]["application/octet-stream"] == raw_data
    success = operation["responses"]["200"]
    assert success["content"]["application/octet-stream"] == raw_data
    (header,) = [each for each in operation["parameters"] if each["in"] == "header"]
    assert header["schema"]["type"] == "integer"
    assert success["headers"].keys() == {header["name"]}
    request = binary(raw(DIGITS, 2))
    assert header["name"].lower() in request["headers"]
    response = service.post("/v2/models/tandem/infer", **request)  # compared with the document
    assert header["name"] in response.headers


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schemas_reject_what_handlers_reject(name: str) -> None:
    assert not accepts(schemas.PredictRequest, DIGITS, DOCUMENTS[name][0])


@pytest.mark.parametrize("name", TABLES)
def test_schemas_reject_bad_tables(name: str) -> None:
    assert not accepts(schemas.PredictRequest, IRIS, body(TABLES[name][0]))


@pytest.mark.parametrize("name", REJECTED)
def test_schemas_reject_bad_rows(name: str) -> None:
    assert not accepts(schemas.PredictRequest, HOUSES, body([GOOD["missing"][0] | REJECTED[name][0]]))


@pytest.mark.parametrize("name", sorted(set(BAD) - {*MISMATCHED, *OUTPUTS}))
def test_schemas_reject_bad_tensors(name: str) -> None:
    assert not accepts(schemas.InferRequest, DIGITS, BAD[name].get("content") or orjson.dumps(BAD[name]["json"]))


@SPECS
def test_schemas_accept_batches(spec: DataSpec) -> None:
    inputs = raw(spec, 3)
    flat, nested = (tensor(inputs, spec, data=data.tolist()) for data in (inputs.ravel(), inputs))
    for each in (flat, nested):
        assert accepts(schemas.InferRequest, spec, orjson.dumps({"inputs": [each], "id": "mine"}))
    top_k = {"top_k": 2} if spec.is_classification else {}
    for batch in [inputs.tolist()] + ([inputs[..., 0].tolist()] if spec is DIGITS else []):
        assert accepts(schemas.PredictRequest, spec, body(batch, **top_k)) == (spec is not HOUSES)


@pytest.mark.parametrize("name", GOOD)
def test_schemas_accept_rows(name: str) -> None:
    assert accepts(schemas.PredictRequest, HOUSES, body([GOOD[name][0]]))
