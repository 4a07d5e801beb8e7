"""The part of the OpenAPI document about the Open Inference Protocol."""

from typing import Any

from serving.api.tensors import DATATYPES
from serving.inference.champion import Champion
from serving.settings import Settings

ABOUT = (
    "Open Inference Protocol, version 2. With the header `inference-header-content-length` the tensor's raw bytes "
    "follow the JSON, as in Triton's binary tensor extension: `tritonclient[http]` does all of it."
)


def paths(champion: Champion, settings: Settings) -> dict[str, Any]:
    """The model's metadata and inference under its name."""
    model = f"/v2/models/{settings.model_name}"
    answer = {"description": "The model's inputs and outputs.", "content": {"application/json": {"schema": {}}}}
    metadata = {"summary": "The model's inputs and outputs", "responses": {"200": answer}}
    return {model: {"get": metadata}, f"{model}/infer": {"post": _infer(champion, settings.max_batch)}}


def _infer(champion: Champion, most: int) -> dict[str, Any]:
    """`POST .../infer` with JSON tensors."""
    one = {"type": "array", "minItems": 1, "maxItems": 1, "items": _tensor(champion, most)}
    schema = {"type": "object", "required": ["inputs"], "properties": {"inputs": one}}
    first = champion.example[:1]
    known = {"name": champion.spec.input_name, "datatype": DATATYPES[champion.spec.dtype], "shape": list(first.shape)}
    example = {"inputs": [known | {"data": first.ravel().tolist()}]}
    answer = {"description": "One tensor.", "content": {"application/json": {"schema": {"type": "object"}}}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    refusals = {"400": "The tensor does not fit.", "422": "No number is found.", "503": "Too many requests."}
    return {
        "summary": "Infer",
        "description": ABOUT,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {"200": answer} | {key: {"description": why, "content": error} for key, why in refusals.items()},
    }


def _tensor(champion: Champion, most: int) -> dict[str, Any]:
    """The JSON schema of the one input tensor."""
    spec = champion.spec
    count = {"type": "integer", "minimum": 1, "maximum": most}
    properties = {
        "name": {"type": "string", "enum": [spec.input_name]},
        "datatype": {"type": "string", "enum": [DATATYPES[spec.dtype]]},
        "shape": {"type": "array", "items": count, "minItems": len(spec.shape) + 1, "maxItems": len(spec.shape) + 1},
        "data": {"type": "array", "items": {"type": "number"}},
    }
    return {"type": "object", "required": list(properties), "properties": properties}
