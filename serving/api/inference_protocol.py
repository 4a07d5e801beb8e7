"""The Open Inference Protocol, version 2, of KServe and Triton.

The model has one name across all champions, so that no address changes with the champion; its version is the
champion's.
"""

import re
from collections.abc import Sequence
from functools import lru_cache, partial

import orjson
from pydantic import BaseModel

from serving.api import json_body, large_responses, predict, tensors
from serving.api.schemas import DATATYPES, ModelMetadata, ModelReady, ServerMetadata, TensorMetadata
from serving.errors import RequestError
from serving.http.messages import Request, Response
from serving.inference.champion import Champion
from serving.monitoring.observation import Observation
from serving.worker import Worker

PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ["binary_tensor_data", "model_configuration", "statistics"]
PATH = re.compile(r"/v2/models/(?P<name>[^/]{1,100})(?:/versions/(?P<version>[^/]{1,100}))?(?P<suffix>/[a-z]+|)")


@lru_cache(256)
def match(path: str) -> re.Match[str] | None:
    """The parts of a path below /v2/models. Cached, as clients request the same few again and again."""
    return PATH.fullmatch(path)


async def server(worker: Worker, _: Request) -> Response:
    """Server metadata."""
    return write(server_metadata(worker))


def server_metadata(worker: Worker) -> ServerMetadata:
    """Name, version and extensions of the server."""
    return ServerMetadata(name="tandem", version=worker.champion.version, extensions=EXTENSIONS)


async def metadata(worker: Worker, request: Request) -> Response:
    """Model metadata. Raises RequestError (404) for another model or version."""
    return write(model_metadata(worker, requested_champion(worker, request)))


def model_metadata(worker: Worker, champion: Champion) -> ModelMetadata:
    """The inputs and outputs of the champion."""
    spec = champion.spec
    inputs = TensorMetadata(name=spec.input_name, datatype=DATATYPES[spec.dtype], shape=[-1, *spec.shape])
    outputs = TensorMetadata(name=spec.output_name, datatype="FP32", shape=[-1, spec.outputs])
    name, versions = worker.settings.model_name, [champion.version]
    return ModelMetadata(name=name, versions=versions, platform=PLATFORM, inputs=[inputs], outputs=[outputs])


async def ready(worker: Worker, request: Request) -> Response:
    """Readiness of this model and version. Raises RequestError (404) for others."""
    champion = requested_champion(worker, request)
    state = ModelReady(name=worker.settings.model_name, version=champion.version, ready=worker.ready)
    return write(state, 200 if worker.ready else 503)


async def infer(worker: Worker, request: Request) -> Response:
    """Tensors in, tensors out, as JSON or as raw data. Raises RequestError."""
    champion = requested_champion(worker, request)
    inference = await _inference(worker, champion, request)
    examples, is_versioned = len(inference.inputs), "/versions/" in request.path
    if is_large := large_responses.is_large(champion, examples):
        size = tensors.response_bytes(examples * champion.spec.outputs, inference.binary)
        large_responses.reserve(worker, request, champion, examples, size)
    model, result = await predict.infer(worker, champion, inference.inputs, None if is_versioned else request)
    request.observed = Observation(model, inference.inputs, result.outputs)
    content = (result.outputs, model.spec, worker.settings.model_name, model.version, inference)
    response = await tensors.write_large(*content) if is_large else tensors.write(*content)
    response.headers += predict.headers(result, model)
    return response


async def _inference(worker: Worker, champion: Champion, request: Request) -> tensors.Inference:
    """The request's tensors. Raises RequestError."""
    document, raw = tensors.split(await request.body(), request.header(tensors.HEADER_LENGTH))
    max_examples = worker.settings.max_batch
    if raw is not None and len(document) <= tensors.MAX_CACHED_HEADER:  # never large; saves a coroutine
        return tensors.parse(document, raw, champion.spec, max_examples)
    parse = partial(tensors.parse, raw=raw, spec=champion.spec, max_examples=max_examples)
    return await json_body.read(worker, request, document, parse)


def requested_champion(worker: Worker, request: Request) -> Champion:
    """The champion. Raises RequestError (404) unless the path names it."""
    parts = match(request.path)
    return named_champion(worker, parts["name"] if parts else "", parts["version"] if parts else None)


def named_champion(worker: Worker, name: str, version: str | None) -> Champion:
    """The champion. Raises RequestError (404) for another name, or another version if there is one."""
    champion, known = worker.champion, worker.settings.model_name
    if name != known or (version and version != champion.version):
        raise RequestError(404, "unknown_model", f"no such model; there is {known!r}, version {champion.version!r}")
    return champion


def write(body: BaseModel | Sequence[BaseModel], status: int = 200) -> Response:
    """A body or a list of bodies as JSON."""
    return Response(orjson.dumps(body, default=BaseModel.model_dump), status)
