"""The part of the OpenAPI document about the layers of the model."""

from typing import Any

ABOUT = (
    "Each layer's values for one picture, scaled to bytes: `shown` is [maps, height, width], 0 is the lowest value and "
    "255 the highest of `range`. Large layers are thinned out: this is for looking, not for computing."
)
REFUSALS = {
    "400": "The picture is wrong; the message says where.",
    "401": "A key is needed.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "This content type is not read here.",
    "503": "Too many requests, or the champion is being replaced.",
}


def activations() -> dict[str, Any]:
    """`POST /predict/activations`."""
    body = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
    answer = {"type": "object", "required": ["layers", "model"], "properties": {"layers": _layers()}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "summary": "Look into the model",
        "description": ABOUT,
        "operationId": "activations",
        "requestBody": {"required": True, "content": body},
        "responses": {"200": {"description": "The layers.", "content": {"application/json": {"schema": answer}}}}
        | {status: {"description": why, "content": error} for status, why in REFUSALS.items()},
    }


def _layers() -> dict[str, Any]:
    """The JSON schema of the layers."""
    text, whole = {"type": "string"}, {"type": "integer"}
    properties = {
        "name": text,
        "operator": text,
        "shape": {"type": "array", "items": whole},
        "shown": {"type": "array", "items": whole, "minItems": 3, "maxItems": 3},
        "range": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        "values": {"type": "string", "format": "byte"},
    }
    return {"type": "array", "items": {"type": "object", "required": list(properties), "properties": properties}}
