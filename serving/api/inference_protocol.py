"""The Open Inference Protocol, version 2: what clients of KServe and Triton speak.

The model has one name across all champions, so that a swap changes no client's address; its versions are
the champion's.
"""

import re
from functools import lru_cache
from typing import Any

import orjson

from serving.api import predict, tensors
from serving.api.schemas import DATATYPES, ModelMetadata, TensorMetadata
from serving.errors import RequestError
from serving.http.messages import Request, Response
from serving.inference.champion import Champion
from serving.monitoring.observation import Observation
from serving.worker import Worker

PATH = re.compile(r"/v2/models/(?P<name>[^/]{1,100})(?:/versions/(?P<version>[^/]{1,100}))?(?P<what>/ready|/infer|)")


@lru_cache(256)
def match(path: str) -> re.Match[str] | None:
    """The parts of a path below /v2/models; clients ask for the same few again and again."""
    return PATH.fullmatch(path)


async def server(worker: Worker, _: Request) -> Response:
    """Server metadata."""
    version = worker.champion.version
    return _json({"name": "tandem", "version": version, "extensions": ["binary_tensor_data"]})


async def metadata(worker: Worker, request: Request) -> Response:
    """Model metadata. Raises RequestError (404) for another model or version."""
    champion = _champion(worker, request)
    spec = champion.spec
    inputs = TensorMetadata(name=spec.input_name, datatype=DATATYPES[spec.dtype], shape=[-1, *spec.shape])
    outputs = TensorMetadata(name=spec.output_name, datatype="FP32", shape=[-1, spec.outputs])
    name, versions = worker.settings.model_name, [champion.version]
    platform = "onnxruntime_onnx"
    found = ModelMetadata(name=name, versions=versions, platform=platform, inputs=[inputs], outputs=[outputs])
    return _json(found.model_dump())


async def ready(worker: Worker, request: Request) -> Response:
    """Whether this model and version can answer. Raises RequestError (404) for others."""
    champion = _champion(worker, request)
    state = {"name": worker.settings.model_name, "version": champion.version, "ready": worker.ready}
    return _json(state, 200 if worker.ready else 503)


async def infer(worker: Worker, request: Request) -> Response:
    """Tensors in, tensors out, as JSON or as raw bytes. Raises RequestError."""
    champion = _champion(worker, request)
    body = await request.body()
    most = worker.settings.max_batch
    inference = tensors.parse(body, request.header(tensors.HEADER_LENGTH), champion.spec, most)
    result = await predict.infer(worker, champion, inference.inputs)
    request.observed = Observation(champion, inference.inputs, result.outputs)
    name = worker.settings.model_name
    response = tensors.write(result.outputs, champion.spec, name, champion.version, inference)
    response.headers += predict.headers(result, champion)
    return response


def _champion(worker: Worker, request: Request) -> Champion:
    """The champion, if the path names it."""
    parts = match(request.path)
    champion = worker.champion
    name = worker.settings.model_name
    if parts is None or parts["name"] != name or parts["version"] not in (None, champion.version):
        raise RequestError(404, "unknown_model", f"no such model; there is {name!r}, version {champion.version!r}")
    return champion


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(document), status)
