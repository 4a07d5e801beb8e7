"""All candidates in one picture: how they learned, and what their accuracy costs in time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipelines.artifacts import history
from pipelines.artifacts.records import INT8, Evidence
from pipelines.plotting.palette import PALETTE
from pipelines.plotting.style import INK, picture


def draw(path: Path, candidates: Sequence[Evidence], histories: Mapping[str, np.ndarray], champion: str) -> None:
    """Validation loss and accuracy over the epochs; test accuracy against latency, the champion with a star.

    The int8 graph of a candidate has its colour, and is hollow.
    """
    colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(histories)}
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
        colour, hollow = colours[found.candidate], found.file == INT8
        axes.errorbar(time, score, reach, color=colour, alpha=0.5, capsize=3, zorder=1)
        marker, size = ("*", 260) if found.name == champion else ("o", 70)
        inside, edge = ("white", colour) if hollow else (colour, INK)
        axes.scatter(
            time, score, size, color=inside, marker=marker, edgecolor=edge, linewidth=2 if hollow else 1, zorder=2
        )
    hint = "star: champion; hollow: int8" if any(found.file == INT8 for found in candidates) else "star: champion"
    axes.set(xlabel="median latency of the smallest batch (ms)", title=f"test {candidates[0].measure} ({hint})")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
