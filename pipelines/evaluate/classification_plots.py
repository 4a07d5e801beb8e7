"""Plots of the predictions of an exported classifier on the test split, and of learning curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import confusion_matrix

from models.plotting.decision_boundary import Plane, blend_colours
from models.plotting.palette import PALETTE
from models.plotting.style import FAINT, INK, TEST, TRAIN, VALIDATION, bare, picture
from models.spec import DataSpec
from pipelines.artifacts import history
from pipelines.evaluate import roc_curves
from pipelines.evaluate.calibration import Bins, expected_calibration_error
from pipelines.evaluate.largest_errors import misclassified_by_confidence
from pipelines.evaluate.predictions import Predictions

MAX_LABELLED_CLASSES = 20  # with counts in the confusion matrix and entries in a legend
GRID_ROWS, GRID_COLUMNS = 3, 6  # of misclassified examples
MAX_FEATURES = 8  # of misclassified rows of a table


def confusion(test: Predictions, name: str, path: Path) -> None:
    """Confusion matrix: numbers of examples, coloured by their share of the row."""
    labels = test.spec.labels
    counts = confusion_matrix(test.targets, test.predicted, labels=np.arange(len(labels)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 3.0 + 0.42 * len(labels))
    with picture(path, side + 0.6, side, f"{name}: confusion on the test split") as figure:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8).outline.set_visible(False)
        _label_axes(axes, labels)
        if len(labels) <= MAX_LABELLED_CLASSES:
            _write_counts(axes, counts, shares)


def roc(test: Predictions, name: str, path: Path) -> None:
    """Curves of each class against the rest and their mean, in full and enlarged in the upper left corner."""
    with picture(path, 11.5, 4.8, f"{name}: receiver operating characteristic on the test split") as figure:
        whole, corner = figure.subplots(1, 2)
        _draw_rocs(whole, test)
        lines = _draw_rocs(corner, test)
        whole.plot([0, 1], [0, 1], color=FAINT, linestyle="--")
        whole.set(title="full range")
        corner.set(title="upper left corner", xlim=(-0.002, 0.1), ylim=(0.9, 1.002))
        shown = lines if len(lines) <= MAX_LABELLED_CLASSES + 1 else lines[-1:]
        _add_legend(figure, shown, [str(line.get_label()) for line in shown], "class (area)")


def reliability(bins: Bins, name: str, path: Path) -> None:
    """Accuracy against confidence, bin by bin, above the number of predictions in each bin.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", figure 1.
    """
    error, width = expected_calibration_error(bins), 1 / len(bins.count)
    with picture(path, 6.4, 6.0, f"{name}: calibration on the test split") as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_reliability(above, bins, width)
        above.set(ylabel="accuracy", ylim=(0, 1.02), title=f"expected calibration error {error:.4f}")
        below.bar(bins.lower, bins.count, width, align="edge", color=TEST, edgecolor="white")
        below.set(xlabel="confidence", ylabel="examples", yscale="log", xlim=(0, 1), ylim=(0.7, None))
        figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def learning_curves(epochs: np.ndarray, best_epoch: int, stored_epoch: int, name: str, path: Path) -> None:
    """Loss and metric of the training and validation split over the `epochs` of a history.

    Lines mark the epoch with the best validation loss and the one whose weights are stored.
    """
    with picture(path, 10.0, 4.0, f"{name}: learning curves") as figure:
        for axes, quantity in zip(figure.subplots(1, 2), ("loss", history.metric(epochs)), strict=True):
            axes.plot(epochs["epoch"], epochs[f"train_{quantity}"], color=TRAIN, label="training")
            axes.plot(epochs["epoch"], epochs[f"validation_{quantity}"], color=VALIDATION, label="validation")
            best, stored = f"best validation loss: epoch {best_epoch}", f"stored weights: epoch {stored_epoch}"
            axes.axvline(best_epoch, color=INK, linestyle=":", linewidth=1.2, label=best)
            axes.axvline(stored_epoch, color=INK, linestyle="--", linewidth=1.2, label=stored)
            axes.set(xlabel="epoch", ylabel=quantity)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend()


def decision_boundary(plane: Plane, probabilities: np.ndarray, spec: DataSpec, name: str, path: Path) -> None:
    """Predictions on the grid of the plane, and the test examples."""
    corners = (plane.low[0], plane.high[0], plane.low[1], plane.high[1])
    with picture(path, 7.0, 6.0, f"{name}: decision boundary and test examples") as figure:
        axes = figure.subplots()
        axes.imshow(blend_colours(probabilities, PALETTE), extent=corners, aspect="auto")
        groups = [plane.points[plane.classes == index].T for index in range(len(spec.labels))]
        handles = [
            axes.scatter(x, y, 16, PALETTE[index % len(PALETTE)], edgecolor="white", linewidth=0.5)
            for index, (x, y) in enumerate(groups)
        ]
        axes.set(xlabel=spec.features[0], ylabel=spec.features[1])
        axes.grid(False)
        _add_legend(figure, handles, spec.labels, spec.target)


def misclassified(test: Predictions, name: str, path: Path) -> None:
    """The misclassified examples with the highest confidence, as images or as rows of a table."""
    chosen = misclassified_by_confidence(test)[: GRID_ROWS * GRID_COLUMNS]
    tabular, grid_rows = test.spec.kind == "tabular", max(1, -(-len(chosen) // GRID_COLUMNS))
    width, height = (11.0, 0.9 + 0.3 * len(chosen)) if tabular else (10.0, 0.4 + 2.2 * grid_rows)
    order = "" if tabular else " (predicted above actual label)"
    with picture(path, width, height, f"{name}: misclassified test examples by confidence{order}") as figure:
        # A single pair of axes: eighteen take a second to lay out.
        axes = figure.subplots()
        bare(axes)
        if not len(chosen):
            figure.text(0.5, 0.4, "Every test example was classified correctly.", ha="center", fontsize=12)
        elif tabular:
            _draw_table(axes, test, chosen)
        else:
            _draw_images(axes, test, chosen)


def _draw_images(axes: Axes, test: Predictions, chosen: np.ndarray) -> None:
    """Examples 1 wide and 1 high in a grid, each below its predicted and its actual label."""
    for place, index in enumerate(chosen):
        _draw_image(axes, test, index, 1.1 * (place % GRID_COLUMNS), -1.4 * (place // GRID_COLUMNS))
    lowest = -1.4 * ((len(chosen) - 1) // GRID_COLUMNS)
    axes.set(xlim=(0, 1.1 * GRID_COLUMNS - 0.1), ylim=(lowest, 1.35), aspect="equal")


def _draw_table(axes: Axes, test: Predictions, chosen: np.ndarray) -> None:
    """Rows with the first features in the encoding of the model."""
    labels, features = test.spec.labels, test.spec.features[:MAX_FEATURES]
    cells = [
        [labels[test.predicted[index]], labels[test.targets[index]], f"{test.confidence[index]:.1%}"]
        + [f"{value:.5g}" for value in test.inputs[index][:MAX_FEATURES].tolist()]
        for index in chosen
    ]
    header = ["predicted", "actual", "confidence", *(feature[:12] for feature in features)]
    axes.table(cells, colLabels=header, loc="upper center", cellLoc="left", edges="horizontal")


def _label_axes(axes: Axes, labels: tuple[str, ...]) -> None:
    long = max(map(len, labels)) > 3
    axes.set_xticks(range(len(labels)), labels, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="true")
    axes.grid(False)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else INK
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)


def _add_legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str], title: str) -> None:
    """A legend beside the axes; names are given, as Matplotlib omits labels of artists that begin with `_`."""
    figure.legend(handles, names, loc="outside right center", title=title)


def _draw_rocs(axes: Axes, test: Predictions) -> list[Line2D]:
    """The curve of each class, labelled with the area under it, and their mean."""
    lines: list[Line2D] = []
    rocs = roc_curves.class_rocs(test.probabilities, test.targets, test.spec.labels)
    for index, (label, roc) in enumerate(rocs.items()):
        colour, style = PALETTE[index % len(PALETTE)], ("-", "--", ":")[index // len(PALETTE) % 3]
        name = f"{label} ({roc.area:.4f})"
        lines += axes.plot(
            roc.false_positive_rate, roc.true_positive_rate, style, color=colour, linewidth=1, label=name
        )
    macro = roc_curves.macro_roc(test.probabilities, test.targets)
    name = f"{roc_curves.MACRO} ({macro.area:.4f})"
    lines += axes.plot(macro.false_positive_rate, macro.true_positive_rate, color=INK, linewidth=2.4, label=name)
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    return lines


def _draw_reliability(axes: Axes, bins: Bins, width: float) -> None:
    place: dict[str, Any] = {"x": bins.lower, "width": width, "align": "edge"}
    axes.bar(height=bins.accuracy, **place, color=TEST, edgecolor="white", label="accuracy")
    gap: dict[str, Any] = {"height": bins.confidence - bins.accuracy, "bottom": bins.accuracy}
    axes.bar(**gap, **place, color="none", edgecolor=VALIDATION, hatch="////", label="difference to confidence")
    axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1.2, label="perfect calibration")


def _draw_image(axes: Axes, test: Predictions, index: int, left: float, bottom: float) -> None:
    labels, probability = test.spec.labels, test.probabilities[index]
    predicted, actual = test.predicted[index], test.targets[index]
    image = np.squeeze(test.inputs[index])
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(left, left + 1, bottom, bottom + 1))
    text = f"{labels[predicted]} ({probability[predicted]:.1%})\n{labels[actual]} ({probability[actual]:.1%})"
    axes.text(left, bottom + 1.05, text, fontsize=9, va="bottom")
