"""Which path is answered by what."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serving import documentation, information, maps, pages, predict, protocol, upload
from serving.engine import Engine
from serving.errors import RequestError
from serving.exchange import Request, Response

Handler = Callable[[Engine, Request], Awaitable[Response]]

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
    "/predict/image": {"POST": Route("predict_image", upload.upload)},
    "/predict/activations": {"POST": Route("activations", maps.activations)},
    "/model": {"GET": Route("model", information.model)},
    "/metrics": {"GET": Route("metrics", information.metrics)},
    "/livez": {"GET": Route("livez", information.live, open=True)},
    "/healthz": {"GET": Route("livez", information.live, open=True)},
    "/readyz": {"GET": Route("readyz", information.ready, open=True)},
    "/v2": {"GET": Route("v2_server", protocol.server)},
    "/v2/health/live": {"GET": Route("livez", information.live, open=True)},
    "/v2/health/ready": {"GET": Route("readyz", information.ready, open=True)},
    "/docs.json": {"GET": Route("docs", documentation.openapi, open=True)},
} | {path: {"GET": Route("page", pages.page, open=True)} for path in pages.FILES}

# By what follows the model's name and version.
MODEL_ROUTES: dict[str, dict[str, Route]] = {
    "": {"GET": Route("v2_model", protocol.metadata)},
    "/ready": {"GET": Route("v2_model_ready", protocol.ready, open=True)},
    "/infer": {"POST": Route("v2_infer", protocol.infer)},
}


def find(method: str, path: str) -> Route:
    """The route of a request. Raises RequestError, 404 or 405."""
    methods = ROUTES.get(path)
    if methods is None and (parts := protocol.match(path)):
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
