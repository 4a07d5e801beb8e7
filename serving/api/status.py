"""Information about the service: model, health and metrics."""

import orjson

from serving.http.messages import Request, Response
from serving.monitoring.metrics import CONTENT_TYPE
from serving.worker import Worker


async def model(worker: Worker, _: Request) -> Response:
    """Version, run, commit, data hash, metrics and provider of the champion, and the path for inference."""
    settings = worker.settings
    inference = {"infer": f"v2/models/{settings.model_name}/infer", "max_batch": settings.max_batch}
    return Response(orjson.dumps(worker.champion.describe() | inference))


async def metrics(worker: Worker, _: Request) -> Response:
    """The metrics of all workers in the text format of Prometheus."""
    return Response(worker.metrics.text(), content_type=CONTENT_TYPE)


async def live(_worker: Worker, _request: Request) -> Response:
    """200 while the event loop runs."""
    return Response(b'{"live":true}')


async def ready(worker: Worker, _: Request) -> Response:
    """200 once the champion is loaded, warmed up and verified; 503 before that and during shutdown."""
    return Response(orjson.dumps({"ready": worker.ready}), 200 if worker.ready else 503)
