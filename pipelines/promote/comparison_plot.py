"""Comparison plot of all candidates: learning curves, and test metric against latency."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from models.export_formats import INT8
from models.plotting.palette import PALETTE
from models.plotting.style import INK, picture
from pipelines.artifacts import history
from pipelines.artifacts.records import CandidateRecord


def draw(candidates: Sequence[CandidateRecord], histories: Mapping[str, np.ndarray], selected: str, path: Path) -> None:
    """Validation loss and metric over the epochs; test metric against latency, with a star for the selected one.

    The int8 graph of a candidate has a hollow marker of the same colour.
    """
    colours = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(histories)}
    with picture(path, 14.0, 4.2, "All candidates") as figure:
        loss, metric, cost = figure.subplots(1, 3)
        _draw_curves(loss, histories, "validation_loss", colours)
        _draw_curves(metric, histories, f"validation_{history.metric(next(iter(histories.values())))}", colours)
        loss.legend(title="candidate")
        _draw_cost(cost, candidates, selected, colours)


def _draw_curves(axes: Axes, histories: Mapping[str, np.ndarray], column: str, colours: Mapping[str, str]) -> None:
    for name, epochs in histories.items():
        axes.plot(epochs["epoch"], epochs[column], color=colours[name], label=name)
    axes.set(xlabel="epoch", title=column.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_cost(axes: Axes, candidates: Sequence[CandidateRecord], selected: str, colours: Mapping[str, str]) -> None:
    for candidate in candidates:
        test, time, metric = candidate.metrics["test"], candidate.smallest_batch["p50_ms"], candidate.metric
        score = test[metric]
        low, high = test[f"{metric}_low"], test[f"{metric}_high"]  # percentiles, which need not enclose the score
        colour, hollow = colours[candidate.candidate], candidate.file == INT8
        axes.errorbar(time, (low + high) / 2, (high - low) / 2, color=colour, alpha=0.5, capsize=3, zorder=1)
        marker, size = ("*", 260) if candidate.name == selected else ("o", 70)
        inside, edge = ("white", colour) if hollow else (colour, INK)
        axes.scatter(
            time, score, size, color=inside, marker=marker, edgecolor=edge, linewidth=2 if hollow else 1, zorder=2
        )
    int8 = "; hollow: int8" if any(candidate.file == INT8 for candidate in candidates) else ""
    axes.set(
        xlabel="median latency at the smallest batch size (ms)",
        title=f"test {candidates[0].metric} (star: selected{int8})",
    )
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
