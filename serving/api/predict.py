"""`POST /predict`: raw examples in, labels and probabilities or values out. Shared by `predict_image`."""

import time
from base64 import b64encode
from typing import Any

import numpy as np
import orjson

from serving.api import json_body, json_examples, large_responses, predictions
from serving.api.json_values import first_names, summarize
from serving.api.schemas import PredictRequest
from serving.errors import RequestError, invalid
from serving.http.messages import Headers, Request, Response
from serving.inference.champion import Champion
from serving.monitoring import request_context
from serving.monitoring.observation import Observation
from serving.scheduling.batcher import Result
from serving.worker import Worker

FIELDS = tuple(PredictRequest.model_fields)


async def predict(worker: Worker, request: Request) -> Response:
    """A `PredictRequest` -> a `PredictResponse`. Raises RequestError."""
    if request.media_type != "application/json":
        raise RequestError(415, "media_type", f"content type {request.media_type!r}; allowed: application/json")
    champion, max_batch = worker.champion, worker.settings.max_batch

    def read(body: bytes) -> tuple[np.ndarray, int | None]:
        return _read(json_body.parse(body), champion, max_batch, b"true" in body or b"false" in body)

    max_keys = len(FIELDS) + max_batch * len(champion.spec.features)
    inputs, top_k = await json_body.read(worker, request, await request.body(), read, max_keys)
    return await respond(worker, request, champion, inputs, top_k)


async def run(worker: Worker, body: dict[str, Any]) -> dict[str, Any]:
    """The `PredictResponse` for a `PredictRequest`, for callers in this process. Raises RequestError."""
    champion = worker.champion
    inputs, top_k = _read(body, champion, worker.settings.max_batch)
    return await run_inputs(worker, champion, inputs, top_k)


def _read(
    body: dict[str, Any], champion: Champion, max_batch: int, may_have_booleans: bool = True
) -> tuple[np.ndarray, int | None]:
    """The examples [N, *shape] and the number of labels to return. Raises RequestError."""
    if unknown := body.keys() - FIELDS:
        raise invalid(f"unknown keys: {first_names(unknown)}; allowed: {', '.join(FIELDS)}")
    inputs = json_examples.parse(body.get("inputs"), champion.spec, max_batch, may_have_booleans)
    return inputs, check_top_k(body.get("top_k"), champion)


async def respond(
    worker: Worker, request: Request, champion: Champion, inputs: np.ndarray, top_k: int | None, pixels: bool = False
) -> Response:
    """The response for validated examples [N, *shape], with their pixels if requested. Raises RequestError."""
    further = len(inputs) * _encoded_bytes(inputs[0].nbytes) if pixels else 0
    if is_large := large_responses.is_large(champion, len(inputs), further):
        size = predictions.response_bytes(len(inputs), champion, top_k) + 2 * further  # before and after writing
        large_responses.reserve(worker, request, champion, len(inputs), size)
    model, result = await infer(worker, champion, inputs, request)
    request.observed = Observation(model, inputs, result.outputs)
    fields = _pixels(inputs) if pixels else {}
    if is_large:
        return await predictions.write_large(result.outputs, model, top_k, fields, headers(result, model))
    body = predictions.write(result.outputs, model, top_k) | fields
    return Response(orjson.dumps(body), headers=headers(result, model))


async def run_inputs(
    worker: Worker, champion: Champion, inputs: np.ndarray, top_k: int | None, pixels: bool = False
) -> dict[str, Any]:
    """The `PredictResponse` for validated examples, for callers in this process. Raises RequestError."""
    model, result = await infer(worker, champion, inputs)
    return predictions.write(result.outputs, model, top_k) | (_pixels(inputs) if pixels else {})


def _pixels(inputs: np.ndarray) -> dict[str, list[str]]:
    """The field with the pixels of each image, in base64."""
    return {"pixels": [b64encode(one).decode() for one in inputs]}


def _encoded_bytes(size: int) -> int:
    """Bytes in JSON of so many bytes in base64, with quotation marks and a comma."""
    return 4 * -(-size // 3) + 3


def check_top_k(value: Any, champion: Champion) -> int | None:
    """The number of labels to return; None means all. Raises RequestError."""
    if value is None:
        return None
    classes = len(champion.spec.labels)
    if not classes:
        raise invalid("top_k: this model returns a number, no labels; allowed: no top_k")
    if type(value) is not int or not 1 <= value <= classes:
        raise invalid(f"top_k: found {summarize(value)}; allowed: a whole number from 1 to {classes}")
    return value


async def infer(
    worker: Worker, champion: Champion, inputs: np.ndarray, request: Request | None = None
) -> tuple[Champion, Result]:
    """The model that answers validated examples [N, *shape], and its outputs. Raises RequestError (422).

    In a canary release it is the challenger for some requests, but for those without a `request`.
    """
    canary = worker.canary
    if canary is None or request is None:
        return champion, await _infer(worker, champion, inputs)
    if (challenger := canary.select(champion, request, len(inputs))) is None:
        result = await _infer(worker, champion, inputs)
        canary.champion_answered(result, request, len(inputs))
        return champion, result
    outcome = await canary.predict(inputs, request)
    if isinstance(outcome, Result):
        _record(worker, challenger, inputs, outcome)
        canary.answered(challenger, outcome, request)
        return challenger, outcome
    result = await _infer(worker, champion, inputs)
    canary.failed(challenger, outcome, request)  # not where the champion fails too
    return champion, result


async def _infer(worker: Worker, champion: Champion, inputs: np.ndarray) -> Result:
    """The outputs of the champion for validated examples [N, *shape]. Raises RequestError (422) if one is not finite.

    Finite but very large features can overflow inside a model; pixels cannot.
    """
    started = time.perf_counter()
    try:
        result = await worker.batcher.predict(champion, inputs)
        if inputs.dtype != np.uint8 and not (finite := np.isfinite(result.outputs).all(axis=1)).all():
            raise RequestError(
                422,
                "overflow",
                f"inputs[{int(finite.argmin())}]: the values are too large; the output of the model is not finite",
            )
    except BaseException:  # a timeout, too, is a failure
        worker.metrics.statistics.failure(champion.version, time.perf_counter() - started)
        raise
    _record(worker, champion, inputs, result)
    return result


def _record(worker: Worker, model: Champion, inputs: np.ndarray, result: Result) -> None:
    """Count an answer of a model, and add it to the trace."""
    worker.metrics.statistics.success(model.version, len(inputs), result.queue, result.run)
    if (context := request_context.CURRENT.get()) and context.trace:
        context.trace.add_inference(model, result)
    if inputs.dtype != np.uint8:
        worker.metrics.count_missing_and_unknown(inputs, model.spec)


def headers(result: Result, champion: Champion) -> Headers:
    """The headers of every prediction: the model's version, and the milliseconds in the queue and in the model."""
    timing = f"queue;dur={result.queue * 1e3:.3f}, run;dur={result.run * 1e3:.3f}"
    return ((b"x-model-version", champion.version.encode()), (b"server-timing", timing.encode()))
