"""What is known of an exported graph after it was asked about data: numbers, and plots of them."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import calibration, evaluation_pictures, latency, runtime, scores, tables
from pipelines.params import Evaluate
from pipelines.predictions import Predictions
from pipelines.runtime import Session


def measure(session: Session, validation: Predictions, test: Predictions, settings: Evaluate) -> dict[str, Any]:
    """All metrics as JSON-ready values, nested by what they are about."""
    return {
        "provider": runtime.provider(session),
        "validation": scores.selection(validation.probabilities, validation.targets),
        "test": scores.full(test.probabilities, test.targets, settings),
        "latency": latencies(session, test.inputs, settings),
    }


def latencies(session: Session, inputs: np.ndarray, settings: Evaluate) -> dict[str, Any]:
    """The latency of each batch size; `inputs` [N, ...] that do not fill a batch are repeated."""
    name, found = session.get_inputs()[0].name, {}
    for size in settings.latency_batches:
        batch = np.asarray(inputs[np.arange(size) % len(inputs)])
        call = partial(session.run, None, {name: batch})
        found[f"batch_{size}"] = asdict(latency.measure(call, size, settings.latency_seconds))
    return found


def plot(folder: Path, name: str, test: Predictions, settings: Evaluate) -> None:
    """Fill `folder` with plots of the test split: as CSV for `dvc plots`, as PNG for people."""
    bins = calibration.group(test.probabilities, test.targets, settings.calibration_bins)
    tables.confusion(folder / "confusion.csv", test)
    tables.roc(folder / "roc.csv", test)
    tables.reliability(folder / "reliability.csv", bins)
    tables.per_class(folder / "per_class.csv", test)
    evaluation_pictures.confusion(folder / "confusion.png", name, test)
    evaluation_pictures.roc(folder / "roc.png", name, test)
    evaluation_pictures.reliability(folder / "reliability.png", name, bins)
    evaluation_pictures.most_wrong(folder / "most_wrong.png", name, test)


def summary(metrics: Mapping[str, Any]) -> str:
    """One line that says how good and how fast."""
    test, (size, times) = metrics["test"], next(iter(metrics["latency"].items()))
    return (
        f"test accuracy {test['accuracy']:.4f} [{test['accuracy_low']:.4f}, {test['accuracy_high']:.4f}], "
        f"log loss {test['log_loss']:.4f}, {size.replace('_', ' ')} in {times['p50_ms']:.3f} ms"
    )
