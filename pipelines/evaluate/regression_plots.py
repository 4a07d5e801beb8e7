"""Plots of the predictions of an exported regression on the test split."""

from pathlib import Path

import numpy as np

from models.plotting.style import INK, TEST, picture
from pipelines.evaluate.predictions import Predictions

MAX_BINS = 40


def predictions(test: Predictions, name: str, path: Path) -> None:
    """Predicted against actual targets, with the line of perfect predictions."""
    with picture(path, 6.0, 5.6, f"{name}: predictions on the test split") as figure:
        axes = figure.subplots()
        axes.scatter(test.targets, test.values, 14, color=TEST, alpha=0.6)
        ends = [min(test.targets.min(), test.values.min()), max(test.targets.max(), test.values.max())]
        axes.plot(ends, ends, color=INK, linestyle="--", linewidth=1.2, label="perfect prediction")
        axes.set(xlabel=f"actual {test.spec.target}", ylabel="predicted")
        axes.legend()


def residuals(test: Predictions, name: str, path: Path) -> None:
    """Residuals against predictions, and a histogram of the residuals."""
    errors = test.values - test.targets
    with picture(path, 10.0, 4.2, f"{name}: predicted minus actual on the test split") as figure:
        against, counts = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
        against.scatter(test.values, errors, 14, color=TEST, alpha=0.6)
        against.axhline(0, color=INK, linestyle="--", linewidth=1.2)
        against.set(xlabel=f"predicted {test.spec.target}", ylabel="predicted minus actual")
        counts.hist(
            errors.astype(np.float64), min(MAX_BINS, max(5, len(errors) // 5)), orientation="horizontal", color=TEST
        )
        counts.set(xlabel="examples", title=f"mean {np.mean(errors):.3g}")
