"""The methods of `GRPCInferenceService`: a message as the body of the request, a message as that of the response."""

import asyncio
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from models.spec import DataSpec
from serving.api import inference_protocol as v2
from serving.api import json_examples, large_responses, model_repository, predict, tensors
from serving.api.schemas import PIXEL_MAX
from serving.errors import invalid
from serving.grpc.message_structure import PER_BYTE, raw_bytes
from serving.grpc.messages import message
from serving.http.large_bodies import SMALL_BYTES
from serving.http.messages import Request, Response
from serving.inference.champion import Champion
from serving.monitoring.observation import Observation
from serving.worker import Worker

MAX_PARAMETERS = 100  # of a request or a tensor
HTTP_PARAMETERS = ("binary_data_output", "binary_data")  # of Triton's binary tensor data extension
MAX_DIMENSIONS = 8  # that are read of a shape: no spec has as many
CONTENT_TYPE = b"application/grpc"
CONTENTS = {"uint8": "uint_contents", "float32": "fp32_contents"}  # field of typed data, by NumPy's names


class Inference(NamedTuple):
    """The content of a ModelInferRequest: examples [N, *shape], raw or typed, for a named version or for any."""

    champion: Champion
    model: str
    id: str
    inputs: np.ndarray
    is_raw: bool
    is_versioned: bool


async def server_live(_worker: Worker, _request: Request) -> Response:
    """True while the event loop runs."""
    return _write("ServerLiveResponse", live=True)


async def server_ready(worker: Worker, _request: Request) -> Response:
    """True once the champion is loaded, warmed up and verified."""
    return _write("ServerReadyResponse", ready=worker.ready)


async def model_ready(worker: Worker, request: Request) -> Response:
    """Readiness of this model and version. Raises RequestError for others."""
    await _read_champion(worker, request, "ModelReadyRequest")
    return _write("ModelReadyResponse", ready=worker.ready)


async def server_metadata(worker: Worker, _request: Request) -> Response:
    """Server metadata."""
    return _convert("ServerMetadataResponse", v2.server_metadata(worker).model_dump())


async def model_metadata(worker: Worker, request: Request) -> Response:
    """Model metadata. Raises RequestError for another model or version."""
    champion = await _read_champion(worker, request, "ModelMetadataRequest")
    return _convert("ModelMetadataResponse", v2.model_metadata(worker, champion).model_dump())


async def model_config(worker: Worker, request: Request) -> Response:
    """The configuration of the model. Raises RequestError for another model or version."""
    champion = await _read_champion(worker, request, "ModelConfigRequest")
    config = model_repository.model_config(worker, champion).model_dump()
    return _convert("ModelConfigResponse", {"config": config})


async def model_statistics(worker: Worker, request: Request) -> Response:
    """The statistics of the named model, or of all. Raises RequestError for another model or version."""
    given = await _read(request, "ModelStatisticsRequest")
    champion = v2.named_champion(worker, given.name, given.version) if given.name else worker.champion

    async def read() -> Response:
        statistics = await model_repository.version_statistics(worker, champion.version)
        return _convert("ModelStatisticsResponse", statistics.model_dump())

    return await worker.shared_work.result(("gRPC statistics", champion.version), read)


async def repository_index(worker: Worker, request: Request) -> Response:
    """The models and their states."""
    only_ready = (await _read(request, "RepositoryIndexRequest")).ready
    models = [model.model_dump() for model in model_repository.models(worker, only_ready)]
    return _convert("RepositoryIndexResponse", {"models": models})


async def infer(worker: Worker, request: Request) -> Response:
    """Tensors in, tensors out: raw data are answered with raw data, typed contents with typed contents."""
    given = await _inference(worker, request)
    champion, inputs = given.champion, given.inputs
    if large_responses.is_large(champion, len(inputs)):
        size = 2 * tensors.FLOAT_BYTES * len(inputs) * champion.spec.outputs  # the message, and what is sent of it
        large_responses.reserve(worker, request, champion, len(inputs), size)
    model, result = await predict.infer(worker, champion, inputs, None if given.is_versioned else request)
    request.observed = Observation(model, inputs, result.outputs)
    response = await _write_inference(given, model, result.outputs)
    return Response(response, content_type=CONTENT_TYPE, headers=predict.headers(result, model))


async def _inference(worker: Worker, request: Request) -> Inference:
    """The content of a ModelInferRequest; large typed contents in the request's turn. Raises RequestError."""
    body = await request.body()
    if len(body) <= SMALL_BYTES:
        return _parse(body, worker)
    raw = raw_bytes(body)
    if (rest := len(body) - raw) <= SMALL_BYTES:
        request.reserve(2 * raw)  # in the parsed message, and as bytes
        return _parse(body, worker)
    return await worker.large_bodies.convert(request, PER_BYTE * rest + 2 * raw, partial(_parse, body, worker))


def _parse(body: bytes, worker: Worker) -> Inference:
    """The content of a ModelInferRequest. Raises RequestError."""
    given = _from_bytes("ModelInferRequest", body)
    champion = v2.named_champion(worker, given.model_name, given.model_version)
    inputs = _inputs(given, champion.spec, worker.settings.max_batch)
    is_raw, is_versioned = bool(given.raw_input_contents), bool(given.model_version)
    return Inference(champion, given.model_name, given.id, inputs, is_raw, is_versioned)


def _from_bytes(name: str, body: bytes) -> Any:
    """The parsed message. Raises RequestError."""
    try:
        return message(name).FromString(body)
    except DecodeError:
        raise invalid(f"the message is no {name}") from None


async def _read(request: Request, name: str) -> Any:
    """The message in the body. Raises RequestError."""
    return _from_bytes(name, await request.body())


async def _read_champion(worker: Worker, request: Request, name: str) -> Champion:
    """The champion that the message names. Raises RequestError for another one."""
    given = await _read(request, name)
    return v2.named_champion(worker, given.name, given.version)


def _write(name: str, **fields: Any) -> Response:
    return Response(message(name)(**fields).SerializeToString(), content_type=CONTENT_TYPE)


def _convert(name: str, body: dict[str, Any]) -> Response:
    """The message with the fields of a JSON body, which has further ones in some cases."""
    converted = ParseDict(body, message(name)(), ignore_unknown_fields=True)
    return Response(converted.SerializeToString(), content_type=CONTENT_TYPE)


def _inputs(given: Any, spec: DataSpec, max_examples: int) -> np.ndarray:
    """The input tensor [N, *shape] of a ModelInferRequest. Raises RequestError unless it fits the spec exactly."""
    header = tensors.read_document(_document(given), spec, max_examples)
    contents = given.inputs[0].contents
    if not given.raw_input_contents:
        return _from_contents(contents, header.shape, spec)
    if len(given.raw_input_contents) != 1 or contents.ByteSize():
        raise invalid("raw_input_contents: allowed: the data of the one input, and no contents beside them")
    return tensors.from_raw(given.raw_input_contents[0], header.shape, spec, "raw_input_contents[0]")


def _document(given: Any) -> dict[str, Any]:
    """The same request as JSON, without its data.

    No more of it than the check of the JSON needs: two tensors are as wrong as a million, which take ten seconds.
    """
    inputs = [
        {
            "name": each.name,
            "datatype": each.datatype,
            "shape": each.shape[:MAX_DIMENSIONS],
            "parameters": _keys(each.parameters),
        }
        for each in given.inputs[:2]
    ]
    document = {"id": given.id, "inputs": inputs, "parameters": _keys(given.parameters)}
    if given.outputs:
        document["outputs"] = [{"name": each.name, "parameters": _keys(each.parameters)} for each in given.outputs[:2]]
    return document


def _keys(parameters: Sequence[Any]) -> dict[str, Any]:
    """The names of parameters: their presence alone is checked. Raises RequestError if there are too many.

    Those by which a client requests raw outputs over HTTP are ignored: the outputs are as raw as the inputs.
    """
    if len(parameters) > MAX_PARAMETERS:
        raise invalid(f"found {len(parameters)} parameters; allowed: {MAX_PARAMETERS}")
    return dict.fromkeys(parameter.key for parameter in parameters if parameter.key not in HTTP_PARAMETERS)


def _from_contents(contents: Any, shape: tuple[int, ...], spec: DataSpec) -> np.ndarray:
    """Typed numbers as [N, *shape]."""
    field = CONTENTS[spec.dtype]
    values = getattr(contents, field)
    if len(values) != (expected := math.prod(shape)):
        raise invalid(f"inputs[0].contents.{field}: found {len(values)} numbers; the shape has {expected}")
    if spec.dtype == "uint8":
        pixels = np.array(values, np.uint32)  # five times as fast as through a list
        if pixels.max() > PIXEL_MAX:
            position = int((pixels > PIXEL_MAX).argmax())
            raise json_examples.wrong_pixel(position, values[position], spec.shape)
        return pixels.astype(np.uint8).reshape(shape)
    inputs = np.array(values, np.float32).reshape(shape)
    json_examples.check(inputs, spec)
    return inputs


async def _write_inference(given: Inference, champion: Champion, outputs: np.ndarray) -> bytes:
    """The ModelInferResponse: outputs float32 [N, K]."""
    response = message("ModelInferResponse")(model_name=given.model, model_version=champion.version, id=given.id)
    output = response.outputs.add(name=champion.spec.output_name, datatype="FP32", shape=outputs.shape)
    if given.is_raw:
        response.raw_output_contents.append(outputs.tobytes())
    else:
        numbers = outputs.ravel()
        for start in range(0, len(numbers), large_responses.BLOCK_VALUES):
            output.contents.fp32_contents.extend(numbers[start : start + large_responses.BLOCK_VALUES].tolist())
            if start:
                await asyncio.sleep(0)  # others are answered meanwhile
    written: bytes = response.SerializeToString()
    return written
