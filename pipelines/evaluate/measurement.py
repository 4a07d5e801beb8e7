"""Metrics, latencies and plots of an exported graph, from its predictions on two splits."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.metrics import latency
from models.onnx import graph_latency
from models.onnx.session import Session, provider
from pipelines.artifacts.paths import PICTURES
from pipelines.config.params import Evaluate
from pipelines.evaluate import (
    calibration,
    classification_metrics,
    classification_plots,
    plot_tables,
    regression_metrics,
    regression_plots,
)
from pipelines.evaluate.predictions import Predictions

TABLES = ("confusion", "roc", "reliability", "per_class")  # folders of CSV files: DVC needs one for each kind of plot


@dataclass(frozen=True)
class GraphPredictions:
    """A session of a graph, its predictions on two splits, and the temperature of its logits if it has one."""

    session: Session
    validation: Predictions
    test: Predictions
    temperature: float | None = None


def compute_metrics(graphs: Sequence[GraphPredictions], config: Evaluate) -> list[dict[str, Any]]:
    """JSON-ready metrics of each graph of one candidate, nested by split and batch size."""
    times = latencies([graph.session for graph in graphs], graphs[0].test.inputs, config)
    functions = classification_metrics if graphs[0].test.spec.is_classification else regression_metrics
    return [
        {
            "provider": provider(graph.session),
            "validation": functions.validation_metrics(graph.validation.outputs, graph.validation.targets),
            "test": {
                **functions.test_metrics(graph.test.outputs, graph.test.targets, config),
                **uncalibrated_error(graph, config),
            },
            "latency": latency_by_size,
            **({} if graph.temperature is None else {"temperature": graph.temperature}),
        }
        for graph, latency_by_size in zip(graphs, times, strict=True)
    ]


def uncalibrated_error(graph: GraphPredictions, config: Evaluate) -> dict[str, float]:
    """The calibration error on the test split without the temperature; empty for a graph that has none."""
    if graph.temperature is None:
        return {}
    before = calibration.without_temperature(graph.test.probabilities, graph.temperature)
    bins = calibration.group(before, graph.test.targets, config.calibration_bins)
    return {"calibration_error_uncalibrated": calibration.expected_calibration_error(bins)}


def latencies(sessions: Sequence[Session], inputs: np.ndarray, config: Evaluate) -> list[dict[str, Any]]:
    """Latencies of each graph by batch size; `inputs` [N, ...] are repeated where they do not fill a batch."""
    results: list[dict[str, Any]] = [{} for _ in sessions]
    for size in config.latency_batches:
        # `promote.maximum_latency_ms` limits the 99th percentile at the smallest size.
        minimum = latency.MIN_TAIL_CALLS if size == min(config.latency_batches) else latency.MIN_CALLS
        times = graph_latency.time_sessions(sessions, inputs, size, config.latency_seconds, minimum)
        for result, measured in zip(results, times, strict=True):
            result[f"batch_{size}"] = asdict(measured)
    return results


def is_faster(metrics: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    """True where the median latency of a graph is below that of another at every batch size."""
    pairs = zip(metrics["latency"].values(), than["latency"].values(), strict=True)
    return all(times["p50_ms"] < others["p50_ms"] for times, others in pairs)


def write_plots(test: Predictions, name: str, config: Evaluate, folder: Path) -> None:
    """Write plots of the test split: CSV files for `dvc plots` into the folders TABLES, PNG files into PICTURES.

    A regression has PNG files only; the other folders are left empty.
    """
    for kind in (*TABLES, PICTURES):
        (folder / kind).mkdir()
    write = _write_classification_plots if test.spec.is_classification else _write_regression_plots
    write(test, name, config, folder)


def _write_regression_plots(test: Predictions, name: str, _: Evaluate, folder: Path) -> None:
    regression_plots.predictions(test, name, folder / PICTURES / "predictions.png")
    regression_plots.residuals(test, name, folder / PICTURES / "residuals.png")


def _write_classification_plots(test: Predictions, name: str, config: Evaluate, folder: Path) -> None:
    bins = calibration.group(test.probabilities, test.targets, config.calibration_bins)
    plot_tables.confusion(test, folder / "confusion" / "confusion.csv")
    plot_tables.roc(test, folder / "roc" / "roc.csv")
    plot_tables.reliability(bins, folder / "reliability" / "reliability.csv")
    plot_tables.per_class(test, folder / "per_class" / "per_class.csv")
    classification_plots.confusion(test, name, folder / PICTURES / "confusion.png")
    classification_plots.roc(test, name, folder / PICTURES / "roc.png")
    classification_plots.reliability(bins, name, folder / PICTURES / "reliability.png")
    classification_plots.misclassified(test, name, folder / PICTURES / "most_wrong.png")


def summary(metrics: Mapping[str, Any]) -> str:
    """One line with the main metrics and the latency of the first batch size."""
    test, (size, times) = metrics["test"], next(iter(metrics["latency"].items()))
    metric, other = ("accuracy", "log_loss") if "accuracy" in test else ("r2", "mae")
    return (
        f"test {metric} {test[metric]:.4f} [{test[f'{metric}_low']:.4f}, {test[f'{metric}_high']:.4f}], "
        f"{other.replace('_', ' ')} {test[other]:.4g}, {size.replace('_', ' ')} in {times['p50_ms']:.3f} ms"
    )
