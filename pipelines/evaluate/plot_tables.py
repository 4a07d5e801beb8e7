"""CSV files with a header for `dvc plots`: the data of the plots of one candidate."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines.evaluate import classification_metrics, roc_curves
from pipelines.evaluate.calibration import Bins
from pipelines.evaluate.predictions import Predictions

Row = Iterable[object]


def confusion(predictions: Predictions, path: Path) -> None:
    """One line for each example: its label and the predicted label."""
    labels, pairs = predictions.spec.labels, zip(predictions.targets, predictions.predicted, strict=True)
    _write(((labels[actual], labels[predicted]) for actual, predicted in pairs), ("actual", "predicted"), path)


def roc(predictions: Predictions, path: Path) -> None:
    """One line for each point of the macro average and of each class that has a curve."""
    classes = roc_curves.class_rocs(predictions.probabilities, predictions.targets, predictions.spec.labels)
    rows = _points({roc_curves.MACRO: roc_curves.macro_roc(predictions.probabilities, predictions.targets), **classes})
    _write(rows, ("label", "false_positive_rate", "true_positive_rate"), path)


def reliability(bins: Bins, path: Path) -> None:
    """One line for each bin that is not empty."""
    rows = zip(bins.lower, bins.confidence, bins.accuracy, bins.count, strict=True)
    _write((row for row in rows if row[-1]), ("lower", "confidence", "accuracy", "count"), path)


def per_class(predictions: Predictions, path: Path) -> None:
    """One line for each class: precision, recall, F1 and number of examples."""
    columns = classification_metrics.per_class(predictions.probabilities, predictions.targets)
    rows = zip(predictions.spec.labels, *columns, strict=True)
    _write(rows, ("label", "precision", "recall", "f1", "examples"), path)


def _points(curves: Mapping[str, roc_curves.Roc]) -> Iterable[Row]:
    for label, curve in curves.items():
        for false, true in zip(curve.false_positive_rate, curve.true_positive_rate, strict=True):
            yield label, false, true


def _write(rows: Iterable[Row], header: tuple[str, ...], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows([_rounded(value) for value in row] for row in rows)


def _rounded(value: object) -> object:
    """A number with six significant digits: enough for a plot, in a third of the size."""
    return f"{value:.6g}" if isinstance(value, float) else value
