"""Plots of a sweep: history, importance of the parameters, and parallel coordinates."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from models.metrics.quality import METRICS
from models.plotting.palette import PALETTE
from models.plotting.style import FAINT, INK, bare, picture
from pipelines.config.sweep import SearchSpace
from pipelines.sweep import studies

HISTORY, IMPORTANCE, COORDINATES = "history.png", "importance.png", "parallel_coordinates.png"
COLOURS = colormaps["viridis"]


def draw(study: Study, space: Mapping[str, SearchSpace], metric: str, folder: Path) -> None:
    """Write the three plots into `folder`."""
    label = f"validation {metric.replace('_', ' ')}"
    with picture(folder / HISTORY, 9.0, 4.0, f"{study.study_name}: history") as figure:
        _draw_history(figure.subplots(), studies.finished(study), label, METRICS[metric].higher_is_better)
    with picture(folder / IMPORTANCE, 9.0, 1.5 + 0.4 * len(space), f"{study.study_name}: importance") as figure:
        _draw_importance(figure.subplots(), importances(study))
    with picture(folder / COORDINATES, 3.0 + 1.8 * len(space), 4.5, f"{study.study_name}: {label}") as figure:
        _draw_coordinates(figure.subplots(), study, space, label)


def importances(study: Study) -> dict[str, float]:
    """The importance of each parameter, the sum is 1; empty where too few trials differ.

    PED-ANOVA: Watanabe et al. 2023, https://arxiv.org/abs/2304.10255.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of choices that occur once
            return optuna.importance.get_param_importances(study)
    except (RuntimeError, ValueError):
        return {}


def _draw_history(axes: Axes, trials: Sequence[FrozenTrial], label: str, higher_is_better: bool) -> None:
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED and trial.value is not None]
    numbers, values = [trial.number for trial in complete], np.array([studies.value(trial) for trial in complete])
    best = (np.maximum if higher_is_better else np.minimum).accumulate(values)
    margin = 0.3 * (np.ptp(values) or 0.1)
    low, high = values.min() - margin, values.max() + margin
    axes.step(numbers, best, where="post", color=PALETTE[0], label="best so far")
    axes.scatter(numbers, values, color=PALETTE[0], edgecolor=INK, label="complete", zorder=2)
    axes.scatter(
        [trial.number for trial in pruned],
        np.clip([studies.value(trial) for trial in pruned], low, high),
        marker="x",
        color=PALETTE[1],
        label="pruned: last value, or beyond the edge",
        clip_on=False,
    )
    for trial in complete:
        if trial.user_attrs.get(studies.CURRENT):
            axes.axhline(studies.value(trial), color=INK, linestyle="--", linewidth=1, label="current parameters")
    axes.set(xlabel="trial", ylabel=label, ylim=(low, high))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _draw_importance(axes: Axes, shares: Mapping[str, float]) -> None:
    if not shares:
        bare(axes)
        axes.text(0.5, 0.5, "too few complete trials differ", ha="center", transform=axes.transAxes)
        return
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color=PALETTE[0])
    axes.set(xlabel="importance")
    axes.set_xlim(0, 1)


def _draw_coordinates(axes: Axes, study: Study, space: Mapping[str, SearchSpace], label: str) -> None:
    """A line for each complete trial; the thick one is the best."""
    complete = studies.complete(study)
    results = [studies.value(trial) for trial in complete]
    low, high = min(results), max(results)
    span, best = high - low or 1.0, study.best_trial.number
    bare(axes)
    for trial in sorted(complete, key=lambda trial: trial.number == best):
        values = trial.user_attrs[studies.VALUES]
        places = [_place(one, values[name]) for name, one in space.items()] + [(studies.value(trial) - low) / span]
        width, alpha = (3.0, 1.0) if trial.number == best else (1.2, 0.6)
        axes.plot(places, color=COLOURS(places[-1]), linewidth=width, alpha=alpha)
    for place in range(len(space) + 1):
        axes.axvline(place, color=FAINT, zorder=0)
    for place, one in enumerate(space.values()):
        for value in one.extremes:
            axes.text(place + 0.03, _place(one, value), str(value), fontsize=8, va="center")
    for value, height in ((low, 0.0), (high, 1.0)):
        axes.text(len(space) + 0.03, height, f"{value:.4g}", fontsize=8, va="center")
    axes.set_xticks(range(len(space) + 1), [*(name.replace(".", ".\n", 1) for name in space), label.replace(" ", "\n")])
    axes.set_xlim(-0.2, len(space) + 0.4)


def _place(space: SearchSpace, value: Any) -> float:
    """The height of a value on its axis, 0 to 1; NaN, which interrupts a line, outside of the search space."""
    if not space.contains(value):
        return float("nan")
    if space.choices is not None:
        return space.choices.index(value) / (len(space.choices) - 1)
    low, high, number = space.low or 0, space.high or 0, value
    if space.log:
        low, high, number = np.log(low), np.log(high), np.log(number)
    return float((number - low) / (high - low))
