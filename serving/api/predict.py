"""`POST /predict` and `POST /predict/image`: examples in, labels and probabilities out."""

from typing import Any

import numpy as np
import orjson

from serving.api import json_body, json_examples, predictions
from serving.api.json_values import describe
from serving.errors import RequestError, invalid
from serving.http.messages import Headers, Request, Response
from serving.inference.champion import Champion
from serving.monitoring.observation import Observation
from serving.scheduling.batcher import Result
from serving.worker import Worker


async def predict(worker: Worker, request: Request) -> Response:
    """`{"inputs": [...], "top_k": 3}` -> labels and probabilities. Raises RequestError."""
    if request.media_type != "application/json":
        raise RequestError(415, "media_type", f"content type {request.media_type!r}; allowed: application/json")
    champion = worker.champion
    document = json_body.parse(await request.body())
    if unknown := sorted(document.keys() - {"inputs", "top_k"}):
        raise invalid(f"unknown keys: {', '.join(unknown)[:200]}; allowed: inputs, top_k")
    inputs = json_examples.parse(document.get("inputs"), champion.spec, worker.settings.max_batch)
    return await answer(worker, request, champion, inputs, top_k(document.get("top_k"), champion))


async def answer(
    worker: Worker, request: Request, champion: Champion, inputs: np.ndarray, count: int | None, **more: Any
) -> Response:
    """Run validated examples [N, *shape] and write the answer, with `more` beside it."""
    result = await ask(worker, champion, inputs)
    request.observed = Observation(champion, inputs, result.outputs)
    body = orjson.dumps(predictions.write(result.outputs, champion, count) | more)
    return Response(body, headers=told(result, champion))


async def run(worker: Worker, champion: Champion, inputs: np.ndarray, count: int | None) -> dict[str, Any]:
    """The same for callers in this process: JSON-ready values."""
    result = await ask(worker, champion, inputs)
    return predictions.write(result.outputs, champion, top_k(count, champion))


async def ask(worker: Worker, champion: Champion, inputs: np.ndarray) -> Result:
    """The model's answer to validated examples [N, *shape]. Raises RequestError (422) where it is no number.

    Finite but enormous features overflow inside a model; pixels cannot.
    """
    result = await worker.batcher.predict(champion, inputs)
    if inputs.dtype == np.uint8:
        return result
    worker.metrics.count_missing_and_unknown(inputs, champion.spec)
    if not (finite := np.isfinite(result.outputs).all(axis=1)).all():
        raise RequestError(422, "overflow", f"inputs[{int(finite.argmin())}]: too extreme, the model finds no number")
    return result


def told(result: Result, champion: Champion) -> Headers:
    """The headers every prediction carries: the model's version, and milliseconds of waiting and running."""
    timing = f"queue;dur={result.queue * 1e3:.3f}, run;dur={result.run * 1e3:.3f}"
    return ((b"x-model-version", champion.version.encode()), (b"server-timing", timing.encode()))


def top_k(value: Any, champion: Champion) -> int | None:
    """How many labels are asked for; none means all. Raises RequestError."""
    if value is None:
        return None
    most = len(champion.spec.labels)
    if type(value) is not int or not 1 <= value <= most:
        raise invalid(f"top_k: found {describe(value)}; allowed: a whole number from 1 to {most}")
    return value
