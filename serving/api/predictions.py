"""The outputs of the model as a `PredictResponse`: labels and probabilities or values, and the model's version."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from serving.api import large_responses
from serving.http.messages import Headers, LargeResponse
from serving.inference.champion import Champion

NUMBER_BYTES = 28  # the longest float32 in JSON, as a float64, with a colon, a comma and quotation marks of its label
ROW_BYTES = 64  # the names in a prediction


def write(outputs: np.ndarray, champion: Champion, top_k: int | None = None) -> dict[str, Any]:
    """Outputs float32 [N, K] or [N, 1] -> a `PredictResponse`, ready for JSON.

    For a classifier each prediction has the most probable `label`, its `probability`, and
    `probabilities` by label: all in the order of the labels, or the `top_k` largest, largest first.
    """
    return {"predictions": _rows(outputs, champion, top_k), "model": _model(champion)}


async def write_large(
    outputs: np.ndarray, champion: Champion, top_k: int | None, fields: Mapping[str, Any], headers: Headers
) -> LargeResponse:
    """The same as a large response, with further fields and headers."""
    parts = await large_responses.write_list(outputs, lambda rows: orjson.dumps(_rows(rows, champion, top_k)))
    rest = orjson.dumps({"model": _model(champion), **fields})
    return LargeResponse(b'{"predictions":[', headers=headers, parts=[*parts, b"]," + rest[1:]])


def response_bytes(examples: int, champion: Champion, top_k: int | None) -> int:
    """An upper bound of the size of a `PredictResponse`."""
    sizes = [len(orjson.dumps(label)) - 2 for label in champion.spec.labels] or [0]
    longest, count = max(sizes), min(top_k or len(sizes), len(sizes))
    labels = min(sum(sizes), count * longest)
    return examples * (ROW_BYTES + longest + labels + (count + 1) * NUMBER_BYTES)


def _model(champion: Champion) -> dict[str, str]:
    return {"name": champion.name, "version": champion.version}


def _rows(outputs: np.ndarray, champion: Champion, top_k: int | None) -> list[dict[str, Any]]:
    return _classes(outputs, champion, top_k) if champion.spec.is_classification else _values(outputs, champion)


def _values(outputs: np.ndarray, champion: Champion) -> list[dict[str, Any]]:
    """One number for each example, under the target's name."""
    return [{"target": champion.spec.target, "value": value} for value in outputs[:, 0].tolist()]


def _classes(outputs: np.ndarray, champion: Champion, top_k: int | None) -> list[dict[str, Any]]:
    """Label and probabilities for each example."""
    labels = champion.spec.labels
    best: list[int] = outputs.argmax(axis=1).tolist()
    rows = outputs.tolist()
    by_label = [dict(zip(labels, row, strict=True)) for row in rows] if top_k is None else _top(outputs, labels, top_k)
    return [
        {"label": labels[index], "probability": row[index], "probabilities": probabilities}
        for index, row, probabilities in zip(best, rows, by_label, strict=True)
    ]


def _top(outputs: np.ndarray, labels: tuple[str, ...], count: int) -> list[dict[str, float]]:
    """The `count` largest probabilities of each example by label, largest first."""
    order = np.argsort(-outputs, axis=1, kind="stable")[:, :count]  # [N, count]
    return [
        {labels[index]: row[index] for index in indices}
        for indices, row in zip(order.tolist(), outputs.tolist(), strict=True)
    ]
