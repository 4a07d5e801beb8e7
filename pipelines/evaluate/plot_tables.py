"""The data behind the plots of one candidate, as CSV files with a header: what `dvc plots` draws."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipelines.evaluate import classification_metrics, roc_curves
from pipelines.evaluate.calibration import Bins
from pipelines.evaluate.predictions import Predictions

Row = Iterable[object]


def confusion(path: Path, found: Predictions) -> None:
    """One line for each example: the label it has and the label it was given."""
    labels, pairs = found.spec.labels, zip(found.targets, found.predicted, strict=True)
    _write(path, ("actual", "predicted"), ((labels[actual], labels[guess]) for actual, guess in pairs))


def roc(path: Path, found: Predictions) -> None:
    """One line for each point of the macro average and of each class that has a curve."""
    classes = roc_curves.class_rocs(found.probabilities, found.targets, found.spec.labels)
    rows = _points({roc_curves.MACRO: roc_curves.macro_roc(found.probabilities, found.targets), **classes})
    _write(path, ("label", "false_positive_rate", "true_positive_rate"), rows)


def reliability(path: Path, bins: Bins) -> None:
    """One line for each bin that holds a prediction."""
    rows = zip(bins.lower, bins.confidence, bins.accuracy, bins.count, strict=True)
    _write(path, ("lower", "confidence", "accuracy", "count"), (row for row in rows if row[-1]))


def per_class(path: Path, found: Predictions) -> None:
    """One line for each class: precision, recall, F1 and number of examples."""
    columns = classification_metrics.per_class(found.probabilities, found.targets)
    _write(path, ("label", "precision", "recall", "f1", "examples"), zip(found.spec.labels, *columns, strict=True))


def _points(named: Mapping[str, roc_curves.Roc]) -> Iterable[Row]:
    for label, curve in named.items():
        for false, true in zip(curve.false_positive_rate, curve.true_positive_rate, strict=True):
            yield label, false, true


def _write(path: Path, header: tuple[str, ...], rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows([_short(value) for value in row] for row in rows)


def _short(value: object) -> object:
    """Six significant digits: a plot needs no more, and the file is a third of the size."""
    return f"{value:.6g}" if isinstance(value, float) else value
