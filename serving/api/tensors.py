"""Tensors of the Open Inference Protocol: as JSON, or as raw bytes behind a JSON header.

https://github.com/kserve/open-inference-protocol and Triton's extension for binary tensor data. Only the
sizes that the header states and the body has can be right at once; everything else is refused.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson

from models.spec import DataSpec
from serving.api import json_body, json_examples
from serving.api.json_values import show
from serving.api.schemas import DATATYPES
from serving.errors import invalid
from serving.http.messages import Response

HEADER_LENGTH = b"inference-header-content-length"
SHORT_HEADER = 1024  # bytes; longer ones are not kept


class Inference(NamedTuple):
    """One request: its own id, the examples [N, *shape], and whether the outputs go back as raw bytes."""

    id: str
    inputs: np.ndarray
    binary: bool


class Stated(NamedTuple):
    """What the JSON of a request says: the shape [N, ...], the numbers' place, and how the outputs go back."""

    id: str
    shape: tuple[int, ...]
    binary_size: Any
    data: Any
    binary: bool


def parse(body: bytes, header_length: bytes, spec: DataSpec, most: int) -> Inference:
    """The request in a body. Raises RequestError for everything that does not fit the spec exactly."""
    header, raw = _split(body, header_length)
    read = _read_again if header_length and len(header) <= SHORT_HEADER else _read
    stated = read(header, spec, most)
    if stated.binary_size is None:
        inputs = _from_json(stated, spec, raw)
    else:
        inputs = _from_bytes(raw, stated.binary_size, stated.shape, spec)
    return Inference(stated.id, inputs, stated.binary)


def _read(header: bytes, spec: DataSpec, most: int) -> Stated:
    """What the JSON of a request says."""
    document = json_body.parse(header, "; is inference-header-content-length missing?")
    tensor = _only_input(document, spec)
    request_id = document.get("id", "")
    if not isinstance(request_id, str):
        raise invalid("id: allowed: text")
    size = _parameters(tensor).get("binary_data_size")
    return Stated(request_id, _shape(tensor, spec, most), size, tensor.get("data"), _wants_binary(document, spec))


# Clients state the same few shapes again and again: to read them once saves a tenth of a small request.
_read_again = lru_cache(256)(_read)


def write(outputs: np.ndarray, spec: DataSpec, model: str, version: str, request: Inference) -> Response:
    """The answer: outputs float32 [N, K] as JSON or as raw bytes behind the JSON."""
    output: dict[str, Any] = {"name": spec.output_name, "datatype": "FP32", "shape": list(outputs.shape)}
    document = {"model_name": model, "model_version": version, "outputs": [output]}
    if request.id:
        document["id"] = request.id
    if not request.binary:
        output["data"] = outputs.ravel()
        return Response(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))
    raw = outputs.tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    header = orjson.dumps(document)
    length = (HEADER_LENGTH, str(len(header)).encode())
    return Response(header + raw, content_type=b"application/octet-stream", headers=(length,))


def _split(body: bytes, header_length: bytes) -> tuple[bytes, memoryview]:
    """The JSON and the raw bytes behind it."""
    if not header_length:
        return body, memoryview(b"")
    if not header_length.isdigit() or len(header_length) > 20 or not 0 < int(header_length) <= len(body):
        found = header_length[:40].decode("latin-1")
        raise invalid(f"inference-header-content-length: found {found!r}; allowed: 1 to the body's {len(body)}")
    end = int(header_length)
    return body[:end], memoryview(body)[end:]


def _only_input(document: dict[str, Any], spec: DataSpec) -> dict[str, Any]:
    """The one input tensor, of the right name and datatype."""
    tensors = document.get("inputs")
    if not isinstance(tensors, list) or len(tensors) != 1 or not isinstance(tensors[0], dict):
        raise invalid(f"inputs: allowed: a list of one tensor, {spec.input_name!r}")
    tensor: dict[str, Any] = tensors[0]
    wanted = {"name": spec.input_name, "datatype": DATATYPES[spec.dtype]}
    for key, value in wanted.items():
        if tensor.get(key) != value:
            raise invalid(f"inputs[0].{key}: found {show(tensor.get(key))}; allowed: {value!r}")
    return tensor


def _shape(tensor: dict[str, Any], spec: DataSpec, most: int) -> tuple[int, ...]:
    """The shape [N, *spec.shape] that the tensor states."""
    shape = tensor.get("shape")
    right = isinstance(shape, list) and set(map(type, shape)) == {int} and tuple(shape[1:]) == spec.shape
    if not isinstance(shape, list) or not right or not 1 <= shape[0] <= most:
        raise invalid(f"inputs[0].shape: found {show(shape)}; allowed: {[f'1..{most}', *spec.shape]}")
    return tuple(shape)


def _parameters(holder: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a tensor or a request."""
    parameters = holder.get("parameters", {})
    if not isinstance(parameters, dict):
        raise invalid("parameters: allowed: an object")
    return parameters


def _from_bytes(raw: memoryview, size: Any, shape: tuple[int, ...], spec: DataSpec) -> np.ndarray:
    """Raw little-endian numbers, without a copy."""
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    wanted = math.prod(shape) * dtype.itemsize
    if type(size) is not int or size != wanted or len(raw) != wanted:
        found = f"binary_data_size {show(size)} and {len(raw)} bytes behind the header"
        raise invalid(f"inputs[0]: found {found}; allowed for shape {list(shape)}: {wanted}")
    inputs = np.frombuffer(raw, dtype).reshape(shape)
    json_examples.check_finite(inputs, spec)
    return inputs


def _from_json(stated: Stated, spec: DataSpec, raw: memoryview) -> np.ndarray:
    """Numbers in one list, or nested like the shape."""
    data, shape = stated.data, stated.shape
    if not isinstance(data, list) or len(raw):
        raise invalid("inputs[0].data: allowed: a list of numbers, with nothing behind the JSON")
    if data and isinstance(data[0], list):
        inputs = json_examples.parse(data, spec, shape[0])
    else:
        _check_count(len(data), math.prod(shape))
        inputs = json_examples.from_flat(data, spec)
    _check_count(len(inputs), shape[0])
    return inputs


def _check_count(found: int, wanted: int) -> None:
    """Raise RequestError where the data are not as many as the shape says."""
    if found != wanted:
        raise invalid(f"inputs[0].data: found {found}; the shape asks for {wanted}")


def _wants_binary(document: dict[str, Any], spec: DataSpec) -> bool:
    """Whether the output is asked for as raw bytes: for this output, or for all of them."""
    whole = _parameters(document).get("binary_data_output", False)
    outputs = document.get("outputs", [{"name": spec.output_name}])
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(outputs[0], dict):
        raise invalid(f"outputs: allowed: a list of one, {spec.output_name!r}, or none at all")
    if outputs[0].get("name") != spec.output_name:
        raise invalid(f"outputs[0].name: found {show(outputs[0].get('name'))}; allowed: {spec.output_name!r}")
    parameters = _parameters(outputs[0])
    if "classification" in parameters:
        raise invalid("outputs[0].parameters: classification is not offered; /predict answers with labels")
    wish = parameters.get("binary_data", whole)
    if type(wish) is not bool:
        raise invalid("binary_data: allowed: true or false")
    return wish
