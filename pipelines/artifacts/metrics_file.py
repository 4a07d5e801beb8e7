"""`metrics/CANDIDATE.json`: the metrics of one candidate's graph, nested by split and by batch size."""

from collections.abc import Mapping
from typing import Any

from pipelines.artifacts import json_object

read, write = json_object.read, json_object.write


def flatten(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of nested metrics under names such as `test/accuracy`, which MLflow shows in groups."""
    values = json_object.flatten(metrics, "/")
    return {name: value for name, value in values if isinstance(value, int | float) and not isinstance(value, bool)}
