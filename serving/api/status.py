"""What the service says about itself: the model that answers, its health and its counters."""

import orjson

from serving.http.messages import Request, Response
from serving.monitoring.metrics import CONTENT_TYPE
from serving.worker import Engine


async def model(engine: Engine, _: Request) -> Response:
    """The champion's pedigree: version, run, commit, data hash, metrics, the provider really used, where to ask it."""
    settings = engine.settings
    asked = {"infer": f"v2/models/{settings.model_name}/infer", "max_batch": settings.max_batch}
    return Response(orjson.dumps(engine.champion.describe() | asked))


async def metrics(engine: Engine, _: Request) -> Response:
    """The counters of all workers for Prometheus."""
    return Response(engine.metrics.text(), content_type=CONTENT_TYPE)


async def live(_engine: Engine, _request: Request) -> Response:
    """200 while the event loop turns."""
    return Response(b'{"live":true}')


async def ready(engine: Engine, _: Request) -> Response:
    """200 once the champion is loaded, warmed and probed; 503 before, and while shutting down."""
    return Response(orjson.dumps({"ready": engine.ready}), 200 if engine.ready else 503)
