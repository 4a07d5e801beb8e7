"""`metrics/CANDIDATE.json`: the metrics of one candidate's graph, nested by split and by batch size."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.artifacts import json_object

read, write = json_object.read, json_object.write


def flatten(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of nested metrics under names such as `test/accuracy`, which MLflow shows in groups."""
    return dict(_numbers(metrics, prefix))


def _numbers(metrics: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{key}", value
