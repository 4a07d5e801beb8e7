"""Drift report: a table for the terminal and a self-contained HTML file."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from tabulate import tabulate

from models.plotting import style
from pipelines.artifacts.atomic import staged
from pipelines.config.params import Drift
from pipelines.drift.prediction_log import LoggedPredictions
from pipelines.drift.statistical_tests import ColumnDrift, ColumnSamples
from pipelines.execution.counts import counted

MAX_PANELS = 24
BINS = 30
STYLE = """
:root { color-scheme: light; font: 16px/1.5 system-ui, sans-serif; color: #24303c; background: #fff; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .3rem .9rem; border-bottom: 1px solid #d0d7de; font-variant-numeric: tabular-nums; }
h1 { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
img { max-width: 100%; height: auto; }
"""


def rows(results: Sequence[ColumnDrift]) -> list[dict[str, str]]:
    """The rows of the table: columns with drift first, then by decreasing distance."""
    return [
        {
            "column": result.name,
            "test": result.test,
            "distance": f"{result.distance:.3f}",
            "p-value": f"{result.p_value:.2g}",
            "verdict": "drift" if result.drifted else "no drift",
        }
        for result in sorted(results, key=_rank)
    ]


def _rank(result: ColumnDrift) -> tuple[bool, float]:
    return not result.drifted, -result.distance


def verdict(results: Sequence[ColumnDrift]) -> str:
    """One line with the columns that drifted."""
    drifted = [result.name for result in results if result.drifted]
    columns = counted(len(results), "column")
    return f"drift in {len(drifted)} of {columns}: {', '.join(drifted)}" if drifted else f"no drift in {columns}"


def context(champion: Mapping[str, Any], logged: LoggedPredictions, config: Drift) -> dict[str, str]:
    """The compared data and the criterion of drift."""
    return {
        "champion": f"{champion['name']}, version {champion['version']}",
        "training data": f"SHA-256 {str(champion['provenance']['data_sha256'])[:12]}",
        "logged examples": f"{len(logged.inputs)}, from {_iso(logged.first)} to {_iso(logged.last)}",
        "ignored": f"{counted(logged.other_models, 'line')} of other models, {logged.unreadable} unreadable",
        "drift criterion": f"p-value below {config.significance:g} ({config.correction.replace('_', ' ')}) "
        f"and distance of at least {config.distance:g}",
        "reference of the inputs": "training split",
        "reference of the predictions": "predictions of the champion on the validation split",
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def write(
    columns: Sequence[ColumnSamples], results: Sequence[ColumnDrift], context: Mapping[str, str], path: Path
) -> None:
    """Write the HTML file, atomically."""
    with staged(path.parent, [path.name]) as beside:
        plot = beside / "distributions.png"
        draw(columns, results, plot)
        (beside / path.name).write_text(page(results, context, plot.read_bytes()), "utf-8")


def page(results: Sequence[ColumnDrift], context: Mapping[str, str], plot: bytes) -> str:
    """The report as HTML with the embedded plot."""
    about = tabulate(list(context.items()), tablefmt="html", disable_numparse=True)
    table = tabulate(rows(results), headers="keys", tablefmt="html", disable_numparse=True)
    image = f'<img alt="Distributions of each column" src="data:image/png;base64,{b64encode(plot).decode()}">'
    viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{viewport}<title>Drift</title><style>{STYLE}</style>'
    heading = verdict(results)
    body = f"<h1>{escape(heading[:1].upper() + heading[1:])}</h1>\n{_scrolling(about)}\n{_scrolling(table)}\n{image}"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _scrolling(table: str) -> str:
    """A region that scrolls by itself where the screen is too narrow."""
    return f'<div class="scroll" tabindex="0">{table}</div>'


def draw(columns: Sequence[ColumnSamples], results: Sequence[ColumnDrift], path: Path) -> None:
    """Distributions of both samples of the columns with the largest distances, a panel each."""
    shown = sorted(zip(columns, results, strict=True), key=lambda pair: _rank(pair[1]))[:MAX_PANELS]
    with style.panels(path, len(shown), "Reference (blue) and log (orange), as shares") as all_axes:
        for axes, (column, result) in zip(all_axes, shown, strict=True):
            _draw_panel(axes, column, result.drifted)


def _draw_panel(axes: Axes, column: ColumnSamples, drifted: bool) -> None:
    """Shares of both samples in the same bins, or by label."""
    edges = _edges(column)
    for sample, colour in ((column.reference, style.TRAIN), (column.current, style.VALIDATION)):
        counts, _ = np.histogram(sample, edges)
        axes.stairs(counts / max(1, len(sample)), edges, fill=True, alpha=0.45, color=colour)
    axes.set_title(f"{column.name}: drift" if drifted else column.name)
    if column.labels and len(column.labels) <= BINS:
        vertical = max(map(len, column.labels)) > 2
        axes.set_xticks(range(len(column.labels)), column.labels, rotation=90 if vertical else 0)


def _edges(column: ColumnSamples) -> np.ndarray:
    """Edges of the bins: one for each label, or equally wide ones; in double precision, where close edges differ."""
    if column.labels:
        return np.arange(len(column.labels) + 1) - 0.5
    values = np.concatenate([column.reference, column.current]).astype(np.float64)
    if values.size and values.min() == values.max():
        half = max(1.0, abs(values[0])) / 2
        return np.array([values[0] - half, values[0] + half])
    return np.histogram_bin_edges(values, BINS)
