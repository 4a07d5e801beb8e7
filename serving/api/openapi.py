"""The OpenAPI document, made from the champion's spec: its shapes, limits, labels and a real example."""

from dataclasses import replace
from typing import Any

import orjson

from serving.api import openapi_activations, openapi_protocol, table_rows
from serving.http.messages import Request, Response
from serving.inference.champion import Champion
from serving.settings import Settings
from serving.worker import Worker

Json = dict[str, Any]
NUMBER = {"type": "number"}
FLOAT32 = {"type": "number", "minimum": -3.4028234e38, "maximum": 3.4028234e38}


async def openapi(worker: Worker, _: Request) -> Response:
    """The document as JSON. It is open to all: where a key is needed, an empty example stands for the real one."""
    champion = worker.champion
    if worker.settings.api_key:
        champion = replace(champion, example=champion.spec.example())
    return Response(orjson.dumps(document(champion, worker.settings)))


def document(champion: Champion, settings: Settings) -> Json:
    """OpenAPI 3.0 for the endpoints that this champion can answer."""
    paths: Json = {"/predict": {"post": _predict(champion, settings.max_batch)}}
    if champion.spec.kind == "image":
        paths["/predict/image"] = {"post": _upload(champion, settings.max_files)}
        paths["/predict/activations"] = {"post": openapi_activations.activations()}
    paths |= {
        "/model": {"get": _get("The model that answers", "Version, run, commit, data hash, metrics and provider.")},
        "/livez": {"get": _get("Alive", "200 while the process answers at all.") | {"security": []}},
        "/readyz": {"get": _get("Ready", "200 once the model is loaded, warmed and probed.") | {"security": []}},
        "/metrics": {"get": _get("Counters", "For Prometheus, in its text format.", "text/plain")},
    }
    paths |= openapi_protocol.paths(champion, settings)
    return {
        "openapi": "3.0.3",
        "info": {"title": "Tandem", "version": champion.version, "description": _about(champion)},
        "paths": paths,
        "components": {"schemas": {"Answer": _answer(champion), "Error": _error()}, "securitySchemes": _keys()},
        "security": [{}, {"key": []}, {"bearer": []}],
    }


def _about(champion: Champion) -> str:
    """What is served, in Markdown."""
    spec = champion.spec
    shape = " x ".join(map(str, spec.shape))
    reads = f"pictures ({shape}, {spec.dtype})" if spec.kind == "image" else f"rows of {spec.shape[0]} features"
    gives = f"one of {len(spec.labels)} classes" if spec.labels else f"the number `{spec.target}`"
    return f"`{champion.name}` version {champion.version}: reads {reads} of `{spec.name}`, answers with {gives}."


def _predict(champion: Champion, most: int) -> Json:
    """`POST /predict`."""
    properties = {"inputs": _inputs(champion, most)} | (
        {"top_k": _top_k(champion) | {"nullable": True}} if champion.spec.labels else {}
    )
    schema = {"type": "object", "required": ["inputs"], "properties": properties, "additionalProperties": False}
    example = {"inputs": _example(champion)}
    return {
        "summary": "Predict a batch",
        "operationId": "predict",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": _responses("400", "413", "415", "422"),
    }


def _inputs(champion: Champion, most: int) -> Json:
    """The JSON schema of a batch: every way to write it, each for all of its examples."""
    spec = champion.spec
    if spec.kind == "image":
        pixel = {"type": "integer", "minimum": 0, "maximum": 255}
        ways = [_nested(spec.shape, pixel)] + ([_nested(spec.shape[:2], pixel)] if spec.shape[2] == 1 else [])
    else:
        # In lists categories would be their numbers, which nobody knows.
        ways = [table_rows.schema(spec, FLOAT32)] + ([] if any(spec.categories) else [_nested(spec.shape, FLOAT32)])
    return {"oneOf": [{"type": "array", "minItems": 1, "maxItems": most, "items": way} for way in ways]}


def _nested(shape: tuple[int, ...], item: Json) -> Json:
    """The JSON schema of nested lists of this shape."""
    for size in reversed(shape):
        item = {"type": "array", "minItems": size, "maxItems": size, "items": item}
    return item


def _example(champion: Champion) -> list[Any]:
    """The champion's first stored example, as it is easiest to write."""
    spec, first = champion.spec, champion.example[:1]
    if spec.kind == "tabular":
        return table_rows.write(first, spec)
    return list((first[..., 0] if spec.shape[2] == 1 else first).tolist())


def _upload(champion: Champion, most: int) -> Json:
    """`POST /predict/image`."""
    file = {"type": "string", "format": "binary"}
    files = {"type": "array", "minItems": 1, "maxItems": most, "items": file}
    form = {"type": "object", "required": ["files"], "properties": {"files": files}, "additionalProperties": False}
    pixels = {"type": "integer", "enum": [0, 1], "default": 0}
    parameters = [_query("pixels", pixels, "1 adds the pictures as the model sees them, uint8 in base64")]
    if champion.spec.labels:
        parameters += [_query("top_k", _top_k(champion), "how many labels to name, the most probable first")]
    return {
        "summary": "Predict pictures",
        "description": "PNG, JPEG, WebP or BMP of any size and mode; one as the body, or several as a form.",
        "operationId": "predict_image",
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, "image/png": {"schema": file}},
        },
        "responses": _responses("400", "413", "415"),
    }


def _query(name: str, schema: Json, about: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": about}


def _top_k(champion: Champion) -> Json:
    return {"type": "integer", "minimum": 1, "maximum": len(champion.spec.labels)}


def _get(summary: str, about: str, media_type: str = "application/json") -> Json:
    """A GET endpoint without parameters."""
    answer = {"description": about, "content": {media_type: {"schema": {}}}}
    return {"summary": summary, "responses": {"200": answer} | _errors("401", "503")}


def _responses(*errors: str) -> Json:
    """The answer to a prediction, and the refusals."""
    answer = {"description": "One prediction for each example, and the model that made them."}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
    return {"200": answer | {"content": content}} | _errors(*errors, "401", "408", "503")


def _errors(*statuses: str) -> Json:
    """Refusals: each says what was found and what is allowed."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": MEANINGS[status], "content": content} for status in statuses}


MEANINGS = {
    "400": "The request is wrong; the message says where.",
    "401": "A key is needed.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "This content type is not read here.",
    "422": "The numbers are so extreme that the model finds no answer.",
    "503": "Not ready, or too many requests; Retry-After says when to come back.",
}


def _answer(champion: Champion) -> Json:
    """The schema of an answer."""
    model = {"type": "object", "properties": {"name": {"type": "string"}, "version": {"type": "string"}}}
    if champion.spec.labels:
        label = {"type": "string", "enum": list(champion.spec.labels)}
        probabilities = {"type": "object", "additionalProperties": NUMBER}
        properties = {"label": label, "probability": NUMBER, "probabilities": probabilities}
    else:
        properties = {"target": {"type": "string"}, "value": NUMBER}
    one = {"type": "object", "required": list(properties), "properties": properties}
    every = {"predictions": {"type": "array", "items": one}, "model": model}
    return {"type": "object", "required": list(every), "properties": every}


def _error() -> Json:
    return {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}


def _keys() -> Json:
    """Both ways to show the key, where one is set."""
    header = {"type": "apiKey", "in": "header", "name": "x-api-key"}
    return {"key": header, "bearer": {"type": "http", "scheme": "bearer"}}
