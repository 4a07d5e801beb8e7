"""Information about the service: model, health and metrics."""

import asyncio
from urllib.parse import urlsplit

import orjson

from serving.http.messages import Request, Response
from serving.inference import bundle
from serving.monitoring.metrics import CONTENT_TYPE
from serving.worker import Worker


async def model(worker: Worker, _: Request) -> Response:
    """Version, run, commit, data hash, metrics and provider of the champion, and the path for inference."""
    settings, information = worker.settings, worker.champion.to_dict()
    inference = {"infer": f"v2/models/{settings.model_name}/infer", "max_batch": settings.max_batch}
    canary = {"canary": worker.canary.to_dict()} if worker.canary else {}
    provenance = dict(information["provenance"])
    if "tracking_uri" in provenance:
        provenance["tracking_uri"] = _public_uri(str(provenance["tracking_uri"]))
    return Response(orjson.dumps(information | inference | canary | {"provenance": provenance}))


def _public_uri(uri: str) -> str:
    """A tracking URI without credentials; of a local store or a database only the scheme."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return parts.scheme if "://" in uri else "file"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


async def client_schema(worker: Worker, _: Request) -> Response:
    """The schema that BentoML's typed client reads."""
    return Response(worker.client_schema())


async def metrics(worker: Worker, _: Request) -> Response:
    """The metrics of all workers in the text format of Prometheus."""

    async def read() -> bytes:
        worker.metrics.flush()
        return await asyncio.to_thread(worker.metrics.text)

    return Response(await worker.shared_work.result("metrics", read), content_type=CONTENT_TYPE)


async def live(_worker: Worker, _request: Request) -> Response:
    """200 while the event loop runs."""
    return Response(b'{"live":true}')


async def ready(worker: Worker, _: Request) -> Response:
    """200 once the champion is loaded, warmed up and verified; 503 before that and during shutdown."""
    age = bundle.registry_age(worker.settings.champion)
    content = {"ready": worker.ready} | ({} if age is None else {"registry_age_seconds": round(age, 3)})
    return Response(orjson.dumps(content), 200 if worker.ready else 503)
