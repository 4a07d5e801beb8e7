"""The OpenAPI document: the routes with the bodies of one model, its limits and a stored example."""

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Any
from weakref import ref

import orjson
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from models.spec import DataSpec
from serving.api import model_schemas, table_rows
from serving.api.route import Json, Route
from serving.api.schemas import DATATYPES, Error, InferRequest, PredictRequest
from serving.http.authentication import given_key
from serving.http.messages import Request, Response
from serving.inference.champion import Champion
from serving.worker import Worker

Routes = Mapping[str, Route]  # by path
RAW_HEADER = "Inference-Header-Content-Length"
JSON_LENGTH: Json = {
    "schema": {"type": "integer", "minimum": 1},
    "description": "Bytes of the JSON, if raw data follow it (application/octet-stream)",
}
MEANINGS = {
    400: "The request is invalid; the message names the value. Or it is no HTTP request.",
    401: "An API key is required.",
    404: "No such model or version.",
    408: "The headers or the body did not arrive in time.",
    409: "The model has been replaced by one that reads tables.",
    413: "The body is too large or takes too much memory to parse, or the response would be too large.",
    414: "The URL is too long.",
    415: "This content type or encoding is not supported.",
    422: "The values are too large: the output of the model is not finite.",
    429: "The quota of this API key is used up; Retry-After is the number of seconds to wait.",
    431: "The headers are too large or too many.",
    500: "Internal error; the log of the service has the details.",
    503: "Not ready, or too many requests or connections; Retry-After is the number of seconds to wait.",
}


class OpenAPISchema(GenerateJsonSchema):
    """JSON schemas as OpenAPI 3.0 writes them: `nullable` in place of the type null, `enum` in place of `const`."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Json:
        """A value or null."""
        return self.generate_inner(schema["schema"]) | {"nullable": True}

    def literal_schema(self, schema: core_schema.LiteralSchema) -> Json:
        """One of a few values."""
        found = super().literal_schema(schema) | {"enum": schema["expected"]}
        return {key: value for key, value in found.items() if key != "const"}

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 # the signature is pydantic's
        """A title would repeat the name of the field."""
        return False


async def respond(worker: Worker, request: Request, routes: Routes) -> Response:
    """The document; without the key it has no names and no stored example."""
    champion, named = worker.champion, worker.api_keys.is_valid(given_key(request))

    def known() -> bytes | None:
        of, written = worker.documents.get(named, (None, b""))
        return written if of and of() is champion else None

    async def generate() -> bytes:
        if (written := known()) is not None:  # by work that was in progress
            return written
        written = await asyncio.to_thread(_write, worker, champion, named, routes)  # 0.2 s for a thousand features
        worker.documents[named] = ref(champion), written  # a replaced champion is not kept in memory
        return written

    if (written := known()) is None:
        written = await worker.shared_work.result(("docs", named, id(champion)), generate)
    return Response(written)


def _write(worker: Worker, champion: Champion, named: bool, routes: Routes) -> bytes:
    settings, shown = worker.settings, champion if named else _anonymized(champion)
    return orjson.dumps(document(shown, settings.max_batch, settings.max_files, routes))


def _anonymized(champion: Champion) -> Champion:
    """The champion with empty names of data, target, labels, features and categories, and an empty example."""
    spec = champion.spec
    labels, features = ("",) * len(spec.labels), ("",) * len(spec.features)
    categories = ((),) * len(spec.categories)
    unnamed = replace(spec, name="", target="", labels=labels, features=features, categories=categories)
    return replace(champion, spec=unnamed, example=spec.example())


def document(champion: Champion, max_batch: int, max_files: int, routes: Routes) -> Json:
    """OpenAPI 3.0 for the routes that this champion can answer."""
    image = champion.spec.kind == "image"
    shown = {path: route for path, route in routes.items() if route.tag and (image or not route.images)}
    types = [(*route.request.values(), route.response, route.options, Error) for route in shown.values()]
    unique = tuple(dict.fromkeys(filter(None, chain.from_iterable(types))))
    schemas, components = _schemas(champion.spec, max_batch, max_files, unique)
    examples = _examples(champion)
    return {
        "openapi": "3.0.3",
        "info": {"title": "Tandem", "version": champion.version, "description": _about(champion)},
        "paths": {
            path: {route.method.lower(): _operation(path, route, schemas, components, examples)}
            for path, route in shown.items()
        },
        "components": {"schemas": components, "securitySchemes": _keys()},
        "security": [{}, {"key": []}, {"bearer": []}],
    }


@lru_cache(4)
def _schemas(spec: DataSpec, max_batch: int, max_files: int, types: tuple[Any, ...]) -> tuple[dict[Any, Json], Json]:
    """The schema of each type, and the components that the schemas refer to, by name. Generating takes long."""
    narrowed = model_schemas.narrowed(spec, max_batch, max_files)
    adapters: Any = [(type_, "validation", TypeAdapter(narrowed.get(type_, type_))) for type_ in types]
    template = "#/components/schemas/{model}"
    schemas, rest = TypeAdapter.json_schemas(adapters, ref_template=template, schema_generator=OpenAPISchema)
    return {type_: schemas[type_, "validation"] for type_ in types}, rest["$defs"]


def _operation(path: str, route: Route, schemas: dict[Any, Json], components: Json, examples: dict[Any, Json]) -> Json:
    """One path's operation."""
    name = (route.id or route.name) + ("_version" if "{version}" in path else "")
    about: Json = {"operationId": name, "tags": [route.tag], "summary": route.summary}
    bodies = [type_ for type_ in (*route.request.values(), route.response) if hasattr(type_, "model_fields")]
    about |= {"description": inspect.getdoc(bodies[0])} if bodies else {}
    access: Json = {"security": []} if route.public else {}
    parameters, body = _parameters(path, route, components), _request_body(route, schemas, examples)
    return about | access | parameters | body | {"responses": _responses(route, schemas)}


def _parameters(path: str, route: Route, components: Json) -> Json:
    """The parameters in the path, the headers and the query."""
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
    parameters = [version] if "{version}" in path else []
    parameters += [{"name": RAW_HEADER, "in": "header", "required": False, **JSON_LENGTH}] if route.raw else []
    options = components[route.options.__name__]["properties"] if route.options else {}
    for name, schema in options.items():
        kept = {key: value for key, value in schema.items() if key != "nullable" and value is not None}  # only in JSON
        parameters.append({"name": name, "in": "query", "required": False, "schema": kept})
    return {"parameters": parameters} if parameters else {}


def _request_body(route: Route, schemas: dict[Any, Json], examples: dict[Any, Json]) -> Json:
    """The body by media type, with an example where there is one."""
    content = {
        media_type: {"schema": schemas[type_]} | ({"example": examples[type_]} if type_ in examples else {})
        for media_type, type_ in route.request.items()
    }
    return {"requestBody": {"required": route.body_required, "content": content}} if content else {}


def _responses(route: Route, schemas: dict[Any, Json]) -> Json:
    """The responses by status: 200, the rejections of all routes of this kind, and the route's own."""
    media_type = "text/plain" if route.response is str else "application/json"
    content = {media_type: {"schema": schemas[route.response]}}
    headers: Json = {}
    if route.raw:
        content["application/octet-stream"] = {"schema": schemas[bytes]}
        headers = {"headers": {RAW_HEADER: JSON_LENGTH}}
    error = {"application/json": {"schema": schemas[Error]}}
    statuses = {400, 408, 413, 414, 431, 500, 503, *route.statuses} | ({415} if route.request else set())
    statuses |= (set() if route.public else {401, 429}) | ({409} if route.images else set())
    success = {"200": {"description": f"{route.summary}.", "content": content} | headers}
    return (
        success
        | {str(status): {"description": MEANINGS[status], "content": error} for status in sorted(statuses)}
        | _not_ready(route, schemas)
    )


def _not_ready(route: Route, schemas: dict[Any, Json]) -> Json:
    """The response 503 of a probe of readiness: its usual content, or an error where there are too many connections."""
    if not route.probe or 503 not in route.statuses:
        return {}
    schema = {"anyOf": [schemas[route.response], schemas[Error]]}
    return {"503": {"description": MEANINGS[503], "content": {"application/json": {"schema": schema}}}}


def _examples(champion: Champion) -> dict[Any, Json]:
    """Requests with the first stored example, in the shortest notation."""
    spec, first = champion.spec, champion.example[:1]
    if any(spec.features):
        inputs = table_rows.write(first, spec)
    else:
        inputs = (first[..., 0] if spec.kind == "image" and spec.shape[2] == 1 else first).tolist()
    tensor = {"name": spec.input_name, "datatype": DATATYPES[spec.dtype], "shape": list(first.shape)}
    data = {"data": first.ravel().tolist()}
    return {PredictRequest: {"inputs": inputs}, InferRequest: {"inputs": [tensor | data]}}


def _about(champion: Champion) -> str:
    """The model, in Markdown."""
    spec = champion.spec
    shape = " x ".join(map(str, spec.shape))
    inputs = (
        f"images ({shape}, {spec.dtype})"
        if spec.kind == "image"
        else f"rows of {spec.shape[0]} {'feature' if spec.shape == (1,) else 'features'}"
    )
    output = (
        f"one of {len(spec.labels)} classes" if spec.is_classification else f"the number `{spec.target or 'value'}`"
    )
    data = f" of `{spec.name}`" if spec.name else ""
    return f"`{champion.name}` version {champion.version}: {inputs}{data} in, {output} out."


def _keys() -> Json:
    """Both ways to send the API key, where one is set."""
    header = {"type": "apiKey", "in": "header", "name": "x-api-key"}
    return {"key": header, "bearer": {"type": "http", "scheme": "bearer"}}
