"""Tensors of the Open Inference Protocol, as JSON or as raw data after a JSON header.

https://github.com/kserve/open-inference-protocol and Triton's extension for binary tensor data. The sizes in the
header, the shape and the size of the body must agree.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson

from models.spec import DataSpec
from serving.api import json_body, json_examples, large_responses
from serving.api.json_values import quote
from serving.api.schemas import DATATYPES
from serving.errors import invalid
from serving.http.messages import LargeResponse, Response

BINARY = b"application/octet-stream"
HEADER_LENGTH = b"inference-header-content-length"
SHARED_MEMORY = frozenset({"shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"})
FLOAT_BYTES, FLOAT_JSON_BYTES = 4, 16  # of a float32; the longest as text is -1.17549435e-38, with a comma
MAX_CACHED_HEADER = 1024  # bytes
RAW_DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("u1"), "float32": np.dtype("<f4")}  # little-endian


class Inference(NamedTuple):
    """A parsed request: its id, the examples [N, *shape], and `binary` for an output as raw data."""

    id: str
    inputs: np.ndarray
    binary: bool


class Header(NamedTuple):
    """The JSON of a request: the shape [N, ...], the size of the raw data or the data, and the form of the output."""

    id: str
    shape: tuple[int, ...]
    binary_size: Any
    data: Any
    binary: bool


def parse(header: bytes, raw: memoryview | None, spec: DataSpec, max_examples: int) -> Inference:
    """The request in a JSON header and the raw data after it. Raises RequestError unless it fits the spec exactly."""
    read = _read_cached if raw is not None and len(header) <= MAX_CACHED_HEADER else _read
    fields = read(header, spec, max_examples)
    if fields.binary_size is not None and fields.data is not None:
        raise invalid("inputs[0]: found data and binary_data_size; allowed: one of them")
    if fields.binary_size is None:
        inputs = _from_json(fields, spec, raw or b"")
    else:
        raw = raw or memoryview(b"")
        if type(fields.binary_size) is not int or fields.binary_size != len(raw):
            found = f"{quote(fields.binary_size)}; {len(raw)} bytes follow the header"
            raise invalid(f"inputs[0].parameters.binary_data_size: found {found}")
        inputs = from_raw(raw, fields.shape, spec, "inputs[0]")
    return Inference(fields.id, inputs, fields.binary)


def _read(header: bytes, spec: DataSpec, max_examples: int) -> Header:
    """The JSON of a request. Raises RequestError."""
    return read_document(json_body.parse(header, "; is inference-header-content-length missing?"), spec, max_examples)


def read_document(document: dict[str, Any], spec: DataSpec, max_examples: int) -> Header:
    """The content of an `InferRequest`. Raises RequestError unless it fits the spec exactly."""
    tensor = _only_input(document, spec)
    request_id = document.get("id", "")
    if not isinstance(request_id, str):
        raise invalid("id: allowed: text")
    shape, size = _shape(tensor, spec, max_examples), _parameters(tensor).get("binary_data_size")
    return Header(request_id, shape, size, tensor.get("data"), _wants_binary(document, spec))


# Clients send the same few headers again and again: caching them saves a tenth of a small request.
_read_cached = lru_cache(256)(_read)


def write(outputs: np.ndarray, spec: DataSpec, model: str, version: str, request: Inference) -> Response:
    """The response: outputs float32 [N, K] as JSON, or as raw data after the JSON."""
    if request.binary:
        header, headers = _binary_header(outputs, spec, model, version, request)
        return Response(header + outputs.tobytes(), content_type=BINARY, headers=headers)
    document, output = _document(outputs.shape, spec.output_name, model, version, request.id)
    output["data"] = outputs.ravel()
    return Response(_json(document))


async def write_large(
    outputs: np.ndarray, spec: DataSpec, model: str, version: str, request: Inference
) -> LargeResponse:
    """The same for a large response."""
    if request.binary:
        header, headers = _binary_header(outputs, spec, model, version, request)
        return LargeResponse(header, content_type=BINARY, headers=headers, parts=[outputs.tobytes()])
    document, output = _document(outputs.shape, spec.output_name, model, version, request.id)
    output["data"] = []
    head, _, tail = _json(document).rpartition(b"[]")
    parts = await large_responses.write_list(outputs, lambda rows: _json(rows.ravel()))
    return LargeResponse(head + b"[", parts=[*parts, b"]" + tail])


def response_bytes(values: int, binary: bool) -> int:
    """An upper bound of the size of a response with so many outputs, without the names."""
    return values * (FLOAT_BYTES if binary else FLOAT_JSON_BYTES)


def _document(
    shape: tuple[int, ...], name: str, model: str, version: str, request_id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON of a response without its data, and the output in it."""
    output: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(shape)}
    document: dict[str, Any] = {"model_name": model, "model_version": version}
    if request_id:
        document["id"] = request_id
    document["outputs"] = [output]
    return document, output


def _binary_header(
    outputs: np.ndarray, spec: DataSpec, model: str, version: str, request: Inference
) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """The JSON before raw data, and the header with its length."""
    write_header = _write_header if request.id else _write_header_cached
    return write_header(outputs.shape, spec.output_name, model, version, request.id)


def _write_header(
    shape: tuple[int, ...], name: str, model: str, version: str, request_id: str
) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """The same for outputs of this shape and name."""
    document, output = _document(shape, name, model, version, request_id)
    output["parameters"] = {"binary_data_size": FLOAT_BYTES * math.prod(shape)}
    header = orjson.dumps(document)
    return header, ((HEADER_LENGTH, str(len(header)).encode()),)


# Responses without an id differ in their data only: caching the rest saves 1 us.
_write_header_cached = lru_cache(256)(_write_header)


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def split(body: bytes, header_length: bytes) -> tuple[bytes, memoryview | None]:
    """The JSON, and the raw data after it where there is a `header_length`. Raises RequestError."""
    if not header_length:
        return body, None
    if not header_length.isdigit() or len(header_length) > 20 or not 0 < int(header_length) <= len(body):
        text = header_length[:40].decode("latin-1")
        raise invalid(f"inference-header-content-length: found {text!r}; allowed: 1 to the body's {len(body)}")
    end = int(header_length)
    return body[:end], memoryview(body)[end:]


def _only_input(document: dict[str, Any], spec: DataSpec) -> dict[str, Any]:
    """The one input tensor. Raises RequestError unless name and datatype are those of the spec."""
    tensors = document.get("inputs")
    if not isinstance(tensors, list) or len(tensors) != 1 or not isinstance(tensors[0], dict):
        raise invalid(f"inputs: allowed: a list of one tensor, {spec.input_name!r}")
    tensor: dict[str, Any] = tensors[0]
    expected = {"name": spec.input_name, "datatype": DATATYPES[spec.dtype]}
    for key, value in expected.items():
        if tensor.get(key) != value:
            raise invalid(f"inputs[0].{key}: found {quote(tensor.get(key))}; allowed: {value!r}")
    return tensor


def _shape(tensor: dict[str, Any], spec: DataSpec, max_examples: int) -> tuple[int, ...]:
    """The shape [N, *spec.shape] in the JSON. Raises RequestError for any other."""
    shape = tensor.get("shape")
    valid = isinstance(shape, list) and set(map(type, shape)) == {int} and tuple(shape[1:]) == spec.shape
    if not isinstance(shape, list) or not valid or not 1 <= shape[0] <= max_examples:
        raise invalid(f"inputs[0].shape: found {quote(shape)}; allowed: {[f'1..{max_examples}', *spec.shape]}")
    return tuple(shape)


def _parameters(holder: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a tensor or a request. Raises RequestError unless they are an object."""
    parameters = holder.get("parameters", {})
    if not isinstance(parameters, dict):
        raise invalid("parameters: allowed: an object")
    if not SHARED_MEMORY.isdisjoint(parameters):
        raise invalid("parameters: shared memory is not supported; send the data in the body")
    return parameters


def from_raw(raw: bytes | memoryview, shape: tuple[int, ...], spec: DataSpec, name: str) -> np.ndarray:
    """Raw little-endian numbers as [N, *shape], without a copy. Raises RequestError, with the `name` of the field."""
    dtype = RAW_DTYPES[spec.dtype]
    if len(raw) != (expected := math.prod(shape) * dtype.itemsize):
        raise invalid(f"{name}: found {len(raw)} bytes; allowed for shape {list(shape)}: {expected}")
    inputs = np.ndarray(shape, dtype, raw)
    json_examples.check(inputs, spec)
    return inputs


def _from_json(fields: Header, spec: DataSpec, raw: memoryview | bytes) -> np.ndarray:
    """Numbers in one list, or nested like the shape, as [N, *shape]."""
    data, shape = fields.data, fields.shape
    if not isinstance(data, list) or len(raw):
        raise invalid("inputs[0].data: allowed: a list of numbers, with nothing after the JSON")
    if data and isinstance(data[0], list):
        inputs = json_examples.parse(data, spec, shape[0])
    else:
        _check_count(len(data), math.prod(shape))
        inputs = json_examples.from_flat(data, spec)
    _check_count(len(inputs), shape[0])
    return inputs


def _check_count(count: int, expected: int) -> None:
    """Raise RequestError unless there are as many data as the shape has."""
    if count != expected:
        raise invalid(f"inputs[0].data: found {count}; the shape has {expected}")


def _wants_binary(document: dict[str, Any], spec: DataSpec) -> bool:
    """True if the output is requested as raw data, for itself or with all outputs. Raises RequestError."""
    default = _parameters(document).get("binary_data_output", False)
    outputs = document.get("outputs", [])
    if outputs == []:  # all
        outputs = [{"name": spec.output_name}]
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
        raise invalid(f"outputs: allowed: a list of one, {spec.output_name!r}, or none at all")
    if outputs[0].get("name") != spec.output_name:
        raise invalid(f"outputs[0].name: found {quote(outputs[0].get('name'))}; allowed: {spec.output_name!r}")
    parameters = _parameters(outputs[0])
    if "classification" in parameters:
        raise invalid("outputs[0].parameters: classification is not supported; /predict returns labels")
    binary = parameters.get("binary_data", default)
    if type(binary) is not bool:
        raise invalid("binary_data: allowed: true or false")
    return binary
