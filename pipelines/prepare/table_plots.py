"""What a table looks like: how the values of each column and of the target are distributed."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from models.spec import DataSpec
from pipelines.plotting.style import TRAIN, histogram, picture

ACROSS, MOST = 4, 40  # panels
BINS = 30
NAMED = 12  # categories that have room for their names


def draw_features(path: Path, spec: DataSpec, rows: NDArray[np.float32]) -> None:
    """A panel for each of the first columns of `rows` [N, F]: a histogram, or a bar for each category."""
    shown = list(zip(spec.features, spec.categories, strict=True))[:MOST]
    down = -(-len(shown) // ACROSS)
    with picture(path, 11, 0.6 + 2.1 * down, f"{spec.name}: columns of the training split") as figure:
        panels = figure.subplots(down, ACROSS, squeeze=False).ravel()
        for place, (name, categories) in enumerate(shown):
            _draw_column(panels[place], name, categories, rows[:, place])
        for axes in panels[len(shown) :]:
            axes.set_visible(False)


def draw_target(path: Path, spec: DataSpec, targets: NDArray[np.float32]) -> None:
    """The distribution of what is to be predicted, `targets` [N]."""
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
    if len(categories) <= NAMED:
        axes.set_xticks(range(len(categories)), categories, rotation=45, ha="right", fontsize=8)
