"""Pictures of what one exported regression does on the test split."""

from pathlib import Path

import numpy as np

from pipelines.evaluate.predictions import Predictions
from pipelines.plotting.style import INK, TEST, picture

BINS = 40


def predictions(path: Path, name: str, found: Predictions) -> None:
    """Each test example's prediction against what it really was: on the line where they are equal."""
    with picture(path, 6.0, 5.6, f"{name}: predictions on the test split") as figure:
        axes = figure.subplots()
        axes.scatter(found.targets, found.values, 14, color=TEST, alpha=0.6)
        ends = [min(found.targets.min(), found.values.min()), max(found.targets.max(), found.values.max())]
        axes.plot(ends, ends, color=INK, linestyle="--", linewidth=1.2, label="perfect prediction")
        axes.set(xlabel=f"actual {found.spec.target}", ylabel="predicted")
        axes.legend()


def residuals(path: Path, name: str, found: Predictions) -> None:
    """How far predictions are off: against what was predicted, and how often by how much."""
    errors = found.values - found.targets
    with picture(path, 10.0, 4.2, f"{name}: predicted minus actual on the test split") as figure:
        against, often = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
        against.scatter(found.values, errors, 14, color=TEST, alpha=0.6)
        against.axhline(0, color=INK, linestyle="--", linewidth=1.2)
        against.set(xlabel=f"predicted {found.spec.target}", ylabel="predicted minus actual")
        often.hist(errors.astype(np.float64), min(BINS, max(5, len(errors) // 5)), orientation="horizontal", color=TEST)
        often.set(xlabel="examples", title=f"mean {np.mean(errors):.3g}")
