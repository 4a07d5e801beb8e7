"""Report on the splits of a table: JSON, plots and notes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import UNKNOWN, DataSpec
from pipelines.prepare import class_validation, table_plots, validation

Arrays = Mapping[str, NDArray[Any]]  # of each split, [n, F] or [n]


def inspect(inputs: Arrays, targets: Arrays, spec: DataSpec) -> dict[str, Any]:
    """Counts of examples, classes, missing and unknown values, JSON-ready; columns without any are omitted."""
    report: dict[str, Any] = {"examples": {name: len(rows) for name, rows in inputs.items()}}
    if spec.is_classification:
        counts = class_validation.class_counts
        report["classes"] = {name: counts(array, spec.labels) for name, array in targets.items()}
    else:
        report["target"] = {name: _range(array) for name, array in targets.items()}
    report["missing"] = {name: _missing(rows, spec) for name, rows in inputs.items()}
    report["unknown"] = {name: _unknown(rows, spec) for name, rows in inputs.items()}
    report["duplicates"] = validation.duplicates(inputs)
    return report


def draw(spec: DataSpec, rows: NDArray[np.float32], targets: NDArray[Any], folder: Path) -> None:
    """Write `features.png` with the training `rows`, and `target.png` of a regression."""
    table_plots.draw_features(rows, spec, folder / "features.png")
    if not spec.is_classification:
        table_plots.draw_target(targets, spec, folder / "target.png")


def notes(report: Mapping[str, Any]) -> Iterator[str]:
    """A note for each anomaly of a table."""
    for split, unknown in report["unknown"].items():
        for name, count in unknown.items():
            yield f"{split} rows with a category of '{name}' unseen in training: {count}"


def _range(targets: NDArray[np.float32]) -> dict[str, float]:
    numbers = targets.astype(np.float64)  # squares of large numbers overflow float32
    return {name: float(getattr(np, name)(numbers)) for name in ("min", "max", "mean", "std")}


def _missing(rows: NDArray[np.float32], spec: DataSpec) -> dict[str, int]:
    counts = zip(spec.features, np.isnan(rows).sum(axis=0).tolist(), strict=True)
    return {name: count for name, count in counts if count}


def _unknown(rows: NDArray[np.float32], spec: DataSpec) -> dict[str, int]:
    counts = zip(spec.features, spec.categories, (rows == UNKNOWN).sum(axis=0).tolist(), strict=True)
    return {name: count for name, categories, count in counts if categories and count}
