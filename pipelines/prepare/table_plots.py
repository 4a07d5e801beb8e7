"""Plots of a table: distributions of the columns and of the target."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from models.plotting.style import TRAIN, histogram, panels, picture
from models.spec import DataSpec

MAX_PANELS = 40
BINS = 30
MAX_CATEGORY_LABELS = 12


def draw_features(rows: NDArray[np.float32], spec: DataSpec, path: Path) -> None:
    """A panel for each of the first MAX_PANELS columns of `rows` [N, F]: a histogram, or a bar for each category."""
    columns = list(zip(spec.features, spec.categories, strict=True))[:MAX_PANELS]
    with panels(path, len(columns), f"{spec.name}: columns of the training split") as all_axes:
        for index, (axes, (name, categories)) in enumerate(zip(all_axes, columns, strict=True)):
            _draw_column(axes, name, categories, rows[:, index])


def draw_target(targets: NDArray[np.float32], spec: DataSpec, path: Path) -> None:
    """A histogram of `targets` [N]."""
    with picture(path, 7, 3.6, f"{spec.name}: {spec.target} in the training split") as figure:
        axes = figure.subplots()
        histogram(axes, targets, BINS, TRAIN)
        axes.set(xlabel=spec.target, ylabel="rows")


def _draw_column(axes: Axes, name: str, categories: tuple[str, ...], values: NDArray[np.float32]) -> None:
    known = values[~np.isnan(values)]
    missing = len(values) - len(known)
    axes.set_title(f"{name} ({missing} missing)" if missing else name, fontsize=9)
    if not categories:
        histogram(axes, known, BINS, TRAIN)
        return
    axes.bar(range(len(categories)), np.bincount(known.astype(np.int64), minlength=len(categories)), color=TRAIN)
    if len(categories) <= MAX_CATEGORY_LABELS:
        axes.set_xticks(range(len(categories)), categories, rotation=45, ha="right", fontsize=8)
