"""Which path is answered by what."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serving.api import activations, inference_protocol, openapi, predict, predict_image, static_files, status
from serving.errors import RequestError
from serving.http.messages import Request, Response
from serving.worker import Worker

Handler = Callable[[Worker, Request], Awaitable[Response]]

# What BentoML itself answers: the schema that its typed client reads.
BENTOML = frozenset({"/schema.json"})


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint: its name in the metrics, its handler, and whether it is open to all at all times."""

    name: str
    handler: Handler
    open: bool = False


ROUTES: dict[str, dict[str, Route]] = {
    "/predict": {"POST": Route("predict", predict.predict)},
    "/predict/image": {"POST": Route("predict_image", predict_image.upload)},
    "/predict/activations": {"POST": Route("activations", activations.activations)},
    "/model": {"GET": Route("model", status.model)},
    "/metrics": {"GET": Route("metrics", status.metrics)},
    "/livez": {"GET": Route("livez", status.live, open=True)},
    "/healthz": {"GET": Route("livez", status.live, open=True)},
    "/readyz": {"GET": Route("readyz", status.ready, open=True)},
    "/v2": {"GET": Route("v2_server", inference_protocol.server)},
    "/v2/health/live": {"GET": Route("livez", status.live, open=True)},
    "/v2/health/ready": {"GET": Route("readyz", status.ready, open=True)},
    "/docs.json": {"GET": Route("docs", openapi.openapi, open=True)},
} | {path: {"GET": Route("page", static_files.page, open=True)} for path in static_files.FILES}

# By what follows the model's name and version.
MODEL_ROUTES: dict[str, dict[str, Route]] = {
    "": {"GET": Route("v2_model", inference_protocol.metadata)},
    "/ready": {"GET": Route("v2_model_ready", inference_protocol.ready, open=True)},
    "/infer": {"POST": Route("v2_infer", inference_protocol.infer)},
}


def find(method: str, path: str) -> Route:
    """The route of a request. Raises RequestError, 404 or 405."""
    methods = ROUTES.get(path)
    if methods is None and (parts := inference_protocol.match(path)):
        methods = MODEL_ROUTES[parts["what"]]
    if methods is None:
        raise RequestError(404, "unknown_path", f"no such path; see /docs for what there is: {', '.join(ROUTES)}")
    route = methods.get("GET" if method == "HEAD" else method)
    if route is None:
        allowed = ", ".join(methods)
        raise RequestError(
            405, "method", f"method {method[:20]!r}; allowed: {allowed}", ((b"allow", allowed.encode()),)
        )
    return route
