"""The paths of the service."""

from dataclasses import replace
from functools import lru_cache

from serving.api import activations, openapi, predict, predict_image, schemas, static_files, status
from serving.api import inference_protocol as v2
from serving.api import model_repository as repository
from serving.api.route import Route
from serving.errors import RequestError
from serving.http.messages import Request, Response
from serving.worker import Worker

PREDICTION, MODEL, HEALTH, PROTOCOL = "Prediction", "Model", "Health", "Open Inference Protocol"
BYTES = {"application/octet-stream": bytes}
IMAGE = BYTES  # or any image/*, which client generators do not know


async def docs(worker: Worker, request: Request) -> Response:
    """The OpenAPI document."""
    return await openapi.respond(worker, request, paths(worker.settings.model_name))


LIVE = Route("livez", status.live, HEALTH, "Liveness of the process", dict[str, bool], public=True, probe=True)
READY = Route(
    "readyz", status.ready, HEALTH, "Readiness: the model is loaded, warmed up and verified", schemas.Readiness,
    public=True, probe=True, statuses=(503,),
)  # fmt: skip
PAGE = Route("page", static_files.page, public=True, probe=True)

ROUTES: dict[str, Route] = {
    "/predict": Route(
        "predict", predict.predict, PREDICTION, "Predict a batch", schemas.PredictResponse, method="POST",
        request={"application/json": schemas.PredictRequest}, statuses=(422,),
    ),
    "/predict/image": Route(
        "predict_image", predict_image.predict_image, PREDICTION, "Predict one image, or several as a form",
        schemas.PredictResponse, method="POST", request={"multipart/form-data": schemas.ImageForm} | IMAGE,
        options=schemas.ImageOptions, images=True,
    ),
    "/predict/activations": Route(
        "activations", activations.activations, PREDICTION, "Outputs of the layers for one image",
        schemas.ActivationsResponse, method="POST", request=IMAGE, images=True,
    ),
    "/model": Route("model", status.model, MODEL, "Version, run, commit, data hash, metrics and provider of the model"),
    "/metrics": Route("metrics", status.metrics, MODEL, "Metrics in the text format of Prometheus", str, probe=True),
    "/livez": LIVE,
    "/healthz": replace(LIVE, id="healthz"),
    "/readyz": READY,
    "/v2": Route("v2_server", v2.server, PROTOCOL, "Server metadata", schemas.ServerMetadata),
    "/v2/health/live": replace(LIVE, tag=PROTOCOL, id="v2_live"),
    "/v2/health/ready": replace(READY, tag=PROTOCOL, id="v2_ready"),
    "/v2/models/stats": Route(
        "v2_statistics", repository.all_statistics, PROTOCOL, "Statistics of all models", schemas.Statistics,
        id="v2_all_statistics",
    ),
    "/v2/repository/index": Route(
        "v2_index", repository.index, PROTOCOL, "Models and their states", list[schemas.RepositoryModel],
        method="POST", request={"application/json": schemas.RepositoryIndexRequest}, body_required=False,
    ),
    "/schema.json": Route("schema", status.client_schema, MODEL, "Schema for BentoML's typed client"),
    "/docs.json": Route("docs", docs, MODEL, "This document", public=True),
} | dict.fromkeys(static_files.FILES, PAGE)  # fmt: skip

# By what follows the model's name and version.
MODEL_ROUTES: dict[str, Route] = {
    "": Route("v2_model", v2.metadata, PROTOCOL, "Inputs and outputs of the model", schemas.ModelMetadata),
    "/ready": Route(
        "v2_model_ready", v2.ready, PROTOCOL, "Readiness of the model", schemas.ModelReady, probe=True, statuses=(503,)
    ),
    "/config": Route("v2_config", repository.config, PROTOCOL, "Configuration of the model", schemas.ModelConfig),
    "/stats": Route("v2_statistics", repository.statistics, PROTOCOL, "Statistics of the model", schemas.Statistics),
    "/infer": Route(
        "v2_infer", v2.infer, PROTOCOL, "Inference", schemas.InferResponse, method="POST",
        request={"application/json": schemas.InferRequest} | BYTES, statuses=(422,), raw=True,
    ),
}  # fmt: skip


def paths(model_name: str) -> dict[str, Route]:
    """All routes by path, the model's under its name."""
    model = f"/v2/models/{model_name}"
    bases = (model, f"{model}/versions/{{version}}")
    routes = {suffix: replace(route, statuses=(404, *route.statuses)) for suffix, route in MODEL_ROUTES.items()}
    return ROUTES | {base + suffix: route for base in bases for suffix, route in routes.items()}


def pattern(path: str) -> str:
    """The path with placeholders for the model's name and version; empty for unknown paths."""
    if path in ROUTES:
        return path
    parts = v2.match(path)
    if parts is None or parts["suffix"] not in MODEL_ROUTES:
        return ""
    return "/v2/models/{name}" + ("/versions/{version}" if parts["version"] else "") + parts["suffix"]


@lru_cache(256)
def find(method: str, path: str) -> Route:
    """The route of a request. Raises RequestError, 404 or 405."""
    route = ROUTES.get(path)
    if route is None and (parts := v2.match(path)):
        route = MODEL_ROUTES.get(parts["suffix"])
    if route is None:
        raise RequestError(
            404,
            "unknown_path",
            f"no such path; see /docs; available: {', '.join(path for path, route in ROUTES.items() if route.tag)}",
        )
    if ("GET" if method == "HEAD" else method) != route.method:
        allow = ((b"allow", route.method.encode()),)
        raise RequestError(405, "method", f"method {method[:20]!r}; allowed: {route.method}", allow)
    return route


def is_probe(method: str, path: str) -> bool:
    """True for health checks and metrics, which are answered while the worker holds too many connections."""
    try:
        route = find(method, path)
    except RequestError:
        return False
    return route.probe and route is not PAGE
