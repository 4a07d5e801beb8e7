"""What is known of an exported graph after it was asked about data: numbers, and plots of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.config.params import Evaluate
from pipelines.evaluate import (
    calibration,
    classification_metrics,
    classification_plots,
    latency,
    plot_tables,
    regression_metrics,
    regression_plots,
)
from pipelines.evaluate.predictions import Predictions
from pipelines.inference import onnx_runtime
from pipelines.inference.onnx_runtime import Session

TABLES = ("confusion", "roc", "reliability", "per_class")  # folders of CSV, as DVC wants one for each kind of plot
PICTURES = "pictures"


@dataclass(frozen=True)
class Asked:
    """A graph, and what it says of two splits."""

    session: Session
    validation: Predictions
    test: Predictions


def measure(graphs: Sequence[Asked], settings: Evaluate) -> list[dict[str, Any]]:
    """All metrics of each graph of one candidate as JSON-ready values, nested by what they are about."""
    times = latencies([graph.session for graph in graphs], graphs[0].test.inputs, settings)
    scored = classification_metrics if graphs[0].test.spec.labels else regression_metrics
    return [
        {
            "provider": onnx_runtime.provider(graph.session),
            "validation": scored.selection(graph.validation.outputs, graph.validation.targets),
            "test": scored.full(graph.test.outputs, graph.test.targets, settings),
            "latency": taken,
        }
        for graph, taken in zip(graphs, times, strict=True)
    ]


def latencies(sessions: Sequence[Session], inputs: np.ndarray, settings: Evaluate) -> list[dict[str, Any]]:
    """The latency of each batch size for each graph; `inputs` [N, ...] that do not fill a batch are repeated."""
    found: list[dict[str, Any]] = [{} for _ in sessions]
    for size in settings.latency_batches:
        batch = np.asarray(inputs[np.arange(size) % len(inputs)])
        calls = [partial(session.run, None, {session.get_inputs()[0].name: batch}) for session in sessions]
        for times, measured in zip(found, latency.measure(calls, size, settings.latency_seconds), strict=True):
            times[f"batch_{size}"] = asdict(measured)
    return found


def is_faster(metrics: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    """Whether the median call of a graph is shorter than that of another at every batch size."""
    pairs = zip(metrics["latency"].values(), than["latency"].values(), strict=True)
    return all(times["p50_ms"] < others["p50_ms"] for times, others in pairs)


def plot(folder: Path, name: str, test: Predictions, settings: Evaluate) -> None:
    """Fill the folders in `folder` with plots of the test split: CSV for `dvc plots`, `pictures` for people.

    A regression has pictures only; the other folders are left empty.
    """
    for kind in (*TABLES, PICTURES):
        (folder / kind).mkdir()
    plot_kind = _plot_classes if test.spec.labels else _plot_numbers
    plot_kind(folder, name, test, settings)


def _plot_numbers(folder: Path, name: str, test: Predictions, _: Evaluate) -> None:
    regression_plots.predictions(folder / PICTURES / "predictions.png", name, test)
    regression_plots.residuals(folder / PICTURES / "residuals.png", name, test)


def _plot_classes(folder: Path, name: str, test: Predictions, settings: Evaluate) -> None:
    bins = calibration.group(test.probabilities, test.targets, settings.calibration_bins)
    plot_tables.confusion(folder / "confusion" / "confusion.csv", test)
    plot_tables.roc(folder / "roc" / "roc.csv", test)
    plot_tables.reliability(folder / "reliability" / "reliability.csv", bins)
    plot_tables.per_class(folder / "per_class" / "per_class.csv", test)
    classification_plots.confusion(folder / PICTURES / "confusion.png", name, test)
    classification_plots.roc(folder / PICTURES / "roc.png", name, test)
    classification_plots.reliability(folder / PICTURES / "reliability.png", name, bins)
    classification_plots.most_wrong(folder / PICTURES / "most_wrong.png", name, test)


def summary(metrics: Mapping[str, Any]) -> str:
    """One line that says how good and how fast."""
    test, (size, times) = metrics["test"], next(iter(metrics["latency"].items()))
    measure, other = ("accuracy", "log_loss") if "accuracy" in test else ("r2", "mae")
    return (
        f"test {measure} {test[measure]:.4f} [{test[f'{measure}_low']:.4f}, {test[f'{measure}_high']:.4f}], "
        f"{other.replace('_', ' ')} {test[other]:.4g}, {size.replace('_', ' ')} in {times['p50_ms']:.3f} ms"
    )
