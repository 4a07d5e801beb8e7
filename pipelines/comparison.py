"""All candidates in one picture: how they learned, and what their accuracy costs in time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipelines import history
from pipelines.drawing import INK, PALETTE, picture
from pipelines.evidence import Evidence


def draw(path: Path, candidates: Sequence[Evidence], histories: Mapping[str, np.ndarray], champion: str) -> None:
    """Validation loss and accuracy over the epochs; test accuracy against latency, the champion with a star."""
    colours = {found.name: PALETTE[index % len(PALETTE)] for index, found in enumerate(candidates)}
    with picture(path, 14.0, 4.2, "All candidates") as figure:
        loss, measured, cost = figure.subplots(1, 3)
        _draw_curves(loss, histories, "validation_loss", colours)
        measure = history.measure(next(iter(histories.values())))
        _draw_curves(measured, histories, f"validation_{measure}", colours)
        loss.legend(title="candidate")
        _draw_cost(cost, candidates, champion, colours)


def _draw_curves(axes: Axes, histories: Mapping[str, np.ndarray], column: str, colours: Mapping[str, str]) -> None:
    for name, epochs in histories.items():
        axes.plot(epochs["epoch"], epochs[column], color=colours[name], label=name)
    axes.set(xlabel="epoch", title=column.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_cost(axes: Axes, candidates: Sequence[Evidence], champion: str, colours: Mapping[str, str]) -> None:
    for found in candidates:
        test, time, measure = found.metrics["test"], found.smallest_batch["p50_ms"], found.measure
        score = test[measure]
        reach = [[score - test[f"{measure}_low"]], [test[f"{measure}_high"] - score]]
        axes.errorbar(time, score, reach, color=colours[found.name], alpha=0.5, capsize=3, zorder=1)
        marker, size = ("*", 260) if found.name == champion else ("o", 70)
        axes.scatter(time, score, size, color=colours[found.name], marker=marker, edgecolor=INK, zorder=2)
        axes.annotate(found.name, (time, score), xytext=(9, 5), textcoords="offset points")
    axes.set(xlabel="median latency of the smallest batch (ms)", title=f"test {candidates[0].measure} (star: champion)")
    slowest = max(found.smallest_batch["p50_ms"] for found in candidates)
    # Room for the name of the one furthest to the right.
    axes.set_xlim(0, 1.35 * slowest)
    axes.xaxis.set_major_locator(MaxNLocator(6))
