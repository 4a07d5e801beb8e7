"""`POST /predict`: raw examples in, labels and probabilities or values out. Shared by `predict_image`."""

import time
from typing import Any

import numpy as np
import orjson

from serving.api import json_body, json_examples, predictions
from serving.api.json_values import summarize
from serving.api.schemas import PredictRequest
from serving.errors import RequestError, invalid
from serving.http.messages import Headers, Request, Response
from serving.inference.champion import Champion
from serving.monitoring.observation import Observation
from serving.scheduling.batcher import Result
from serving.worker import Worker

FIELDS = tuple(PredictRequest.model_fields)


async def predict(worker: Worker, request: Request) -> Response:
    """A `PredictRequest` -> a `PredictResponse`. Raises RequestError."""
    if request.media_type != "application/json":
        raise RequestError(415, "media_type", f"content type {request.media_type!r}; allowed: application/json")
    champion = worker.champion
    inputs, top_k = parse(json_body.parse(await request.body()), champion, worker.settings.max_batch)
    return await respond(worker, request, champion, inputs, top_k)


def parse(body: dict[str, Any], champion: Champion, max_batch: int) -> tuple[np.ndarray, int | None]:
    """The examples [N, *shape] and `top_k` of a `PredictRequest`. Raises RequestError."""
    if unknown := sorted(body.keys() - FIELDS):
        raise invalid(f"unknown keys: {', '.join(unknown)[:200]}; allowed: {', '.join(FIELDS)}")
    inputs = json_examples.parse(body.get("inputs"), champion.spec, max_batch)
    return inputs, parse_top_k(body.get("top_k"), champion)


def parse_top_k(value: Any, champion: Champion) -> int | None:
    """The number of labels to return; None means all. Raises RequestError."""
    if value is None:
        return None
    classes = len(champion.spec.labels)
    if type(value) is not int or not 1 <= value <= classes:
        raise invalid(f"top_k: found {summarize(value)}; allowed: a whole number from 1 to {classes}")
    return value


async def respond(
    worker: Worker, request: Request, champion: Champion, inputs: np.ndarray, top_k: int | None, **fields: Any
) -> Response:
    """Run the model on validated examples [N, *shape]; `fields` are added to the body."""
    result = await infer(worker, champion, inputs)
    request.observed = Observation(champion, inputs, result.outputs)
    body = orjson.dumps(predictions.write(result.outputs, champion, top_k) | fields)
    return Response(body, headers=headers(result, champion))


async def run(worker: Worker, body: dict[str, Any]) -> dict[str, Any]:
    """The same for callers in this process: a `PredictRequest` -> a `PredictResponse`."""
    champion = worker.champion
    inputs, top_k = parse(body, champion, worker.settings.max_batch)
    result = await infer(worker, champion, inputs)
    return predictions.write(result.outputs, champion, top_k)


async def infer(worker: Worker, champion: Champion, inputs: np.ndarray) -> Result:
    """The outputs of the model for validated examples [N, *shape]. Raises RequestError (422) if one is not finite.

    Finite but very large features can overflow inside a model; pixels cannot.
    """
    started = time.perf_counter()
    try:
        result = await worker.batcher.predict(champion, inputs)
    except BaseException:  # a timeout, too, is a failure
        worker.metrics.statistics.failure(champion.version, time.perf_counter() - started)
        raise
    worker.metrics.statistics.success(champion.version, len(inputs), result.queue, result.run)
    if inputs.dtype == np.uint8:
        return result
    worker.metrics.count_missing_and_unknown(inputs, champion.spec)
    if not (finite := np.isfinite(result.outputs).all(axis=1)).all():
        raise RequestError(
            422,
            "overflow",
            f"inputs[{int(finite.argmin())}]: the values are too large; the output of the model is not finite",
        )
    return result


def headers(result: Result, champion: Champion) -> Headers:
    """The headers of every prediction: the model's version, and the milliseconds in the queue and in the model."""
    timing = f"queue;dur={result.queue * 1e3:.3f}, run;dur={result.run * 1e3:.3f}"
    return ((b"x-model-version", champion.version.encode()), (b"server-timing", timing.encode()))
