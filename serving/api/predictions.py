"""The outputs of the model as a `PredictResponse`: labels and probabilities or values, and the model's version."""

from typing import Any

import numpy as np

from serving.inference.champion import Champion


def write(outputs: np.ndarray, champion: Champion, top_k: int | None = None) -> dict[str, Any]:
    """Outputs float32 [N, K] or [N, 1] -> a `PredictResponse`, ready for JSON.

    For a classifier each prediction has the most probable `label`, its `probability`, and
    `probabilities` by label: all in the order of the labels, or the `top_k` largest, largest first.
    """
    rows = _classes(outputs, champion, top_k) if champion.spec.is_classification else _values(outputs, champion)
    return {"predictions": rows, "model": {"name": champion.name, "version": champion.version}}


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
