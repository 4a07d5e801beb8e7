"""What the service says about itself: the model that answers, its health and its counters."""

import orjson

from serving.http.messages import Request, Response
from serving.monitoring.metrics import CONTENT_TYPE
from serving.worker import Worker


async def model(worker: Worker, _: Request) -> Response:
    """The champion's pedigree: version, run, commit, data hash, metrics, the provider really used, where to ask it."""
    settings = worker.settings
    asked = {"infer": f"v2/models/{settings.model_name}/infer", "max_batch": settings.max_batch}
    return Response(orjson.dumps(worker.champion.describe() | asked))


async def metrics(worker: Worker, _: Request) -> Response:
    """The counters of all workers for Prometheus."""
    return Response(worker.metrics.text(), content_type=CONTENT_TYPE)


async def live(_worker: Worker, _request: Request) -> Response:
    """200 while the event loop turns."""
    return Response(b'{"live":true}')


async def ready(worker: Worker, _: Request) -> Response:
    """200 once the champion is loaded, warmed and probed; 503 before, and while shutting down."""
    return Response(orjson.dumps({"ready": worker.ready}), 200 if worker.ready else 503)
