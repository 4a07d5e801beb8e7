"""Plots of layer statistics over the epochs of a training."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from models.plotting.style import picture

PANELS = {  # statistic: title, scale
    "gradient_norm": ("gradient norm of the weights", "log"),
    "std": ("standard deviation of the outputs", "linear"),
    "dead": ("share of dead units", "linear"),
}
MAX_LEGEND_ENTRIES = 12  # with more layers only the first and the last are in the legend


def layers(rows: np.ndarray, name: str, path: Path) -> None:
    """The statistics PANELS of each layer over the epochs, from the first layer (dark) to the last (bright)."""
    with picture(path, 14.0, 4.6, f"{name}: layer statistics on fixed training examples") as figure:
        panels = figure.subplots(1, len(PANELS))
        for axes, (statistic, (title, scale)) in zip(panels, PANELS.items(), strict=True):
            _draw(axes, rows[rows["statistic"] == statistic])
            axes.set(title=title, xlabel="epoch", yscale=scale)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8)
        panels[-1].set_ylim(-0.02, 1.02)


def _draw(axes: Axes, rows: np.ndarray) -> None:
    names = list(dict.fromkeys(rows["layer"]))
    for place, layer in enumerate(names):
        own = rows[rows["layer"] == layer]
        listed = len(names) <= MAX_LEGEND_ENTRIES or place in (0, len(names) - 1)
        colour = colormaps["viridis"](0.9 * place / max(1, len(names) - 1))
        axes.plot(own["epoch"], own["value"], color=colour, linewidth=1.4, label=layer if listed else None)
