"""What a person reads about drift: a table for the terminal, and one HTML file that needs no other."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from tabulate import tabulate

from pipelines.artifacts import paths
from pipelines.artifacts.atomic import staged
from pipelines.config.params import Drift
from pipelines.drift.prediction_log import Logged
from pipelines.drift.statistical_tests import Column, Finding
from pipelines.plotting import style

MOST_PANELS, ACROSS = 24, 4
BINS = 30
STYLE = """
:root { color-scheme: light; font: 16px/1.5 system-ui, sans-serif; color: #24303c; background: #fff; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .3rem .9rem; border-bottom: 1px solid #d0d7de; font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; }
"""


def rows(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """The findings as they are shown, the furthest apart first."""
    ordered = sorted(findings, key=lambda found: (not found.drifted, -found.distance))
    return [
        {
            "column": found.name,
            "test": found.test,
            "distance": f"{found.distance:.3f}",
            "p-value": f"{found.p_value:.2g}",
            "verdict": "drift" if found.drifted else "no drift",
        }
        for found in ordered
    ]


def verdict(findings: Sequence[Finding]) -> str:
    """One line."""
    drifted = [found.name for found in findings if found.drifted]
    if not drifted:
        return f"no drift in {len(findings)} columns"
    return f"drift in {len(drifted)} of {len(findings)} columns: {', '.join(drifted)}"


def facts(champion: Mapping[str, Any], logged: Logged, settings: Drift) -> dict[str, str]:
    """What was compared with what, and when that counts as drift."""
    return {
        "champion": f"{champion['name']}, version {champion['version']}",
        "learned from": f"data {str(champion['provenance']['data_sha256'])[:12]}",
        "logged examples": f"{len(logged.inputs)}, from {_moment(logged.first)} to {_moment(logged.last)}",
        "passed over": f"{logged.others} lines of other models, {logged.broken} unreadable",
        "drift is": f"a p-value below {settings.significance:g} ({settings.correction.replace('_', ' ')}) "
        f"and a distance of at least {settings.distance:g}",
        "inputs are compared with": "the training split",
        "predictions are compared with": "the champion's own on the validation split",
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def write(columns: Sequence[Column], findings: Sequence[Finding], known: Mapping[str, str]) -> None:
    """Write artifacts/drift/report.html, whole or not at all."""
    with staged(paths.DRIFT_REPORT.parent, [paths.DRIFT_REPORT.name]) as beside:
        picture = beside / "distributions.png"
        draw(picture, columns, findings)
        (beside / paths.DRIFT_REPORT.name).write_text(page(findings, known, picture.read_bytes()), "utf-8")


def page(findings: Sequence[Finding], known: Mapping[str, str], picture: bytes) -> str:
    """The report, with the picture inside."""
    about = tabulate([(name, value) for name, value in known.items()], tablefmt="html", disable_numparse=True)
    table = tabulate(rows(findings), headers="keys", tablefmt="html", disable_numparse=True)
    image = f'<img alt="Distributions of each column" src="data:image/png;base64,{b64encode(picture).decode()}">'
    head = f'<meta charset="utf-8"><title>Drift</title><style>{STYLE}</style>'
    body = f"<h1>{escape(verdict(findings).capitalize())}</h1>\n{about}\n{table}\n{image}"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def draw(path: Path, columns: Sequence[Column], findings: Sequence[Finding]) -> None:
    """Both samples of the columns that are furthest apart, a panel each."""
    found = sorted(zip(columns, findings, strict=True), key=lambda pair: (not pair[1].drifted, -pair[1].distance))
    shown = found[:MOST_PANELS]
    down = -(-len(shown) // ACROSS)
    with style.picture(path, 11, 0.6 + 2.1 * down, "Reference (blue) and log (orange), as shares") as figure:
        panels = figure.subplots(down, ACROSS, squeeze=False).ravel()
        for axes, (column, finding) in zip(panels, shown, strict=False):
            _panel(axes, column, finding.drifted)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)


def _panel(axes: Axes, column: Column, drifted: bool) -> None:
    """Shares of both samples in the same bins, or by label."""
    edges = _edges(column)
    for sample, colour in ((column.reference, style.TRAIN), (column.current, style.VALIDATION)):
        counts, _ = np.histogram(sample, edges)
        axes.stairs(counts / max(1, len(sample)), edges, fill=True, alpha=0.45, color=colour)
    axes.set_title(f"{column.name}: drift" if drifted else column.name)
    if column.labels and len(column.labels) <= BINS:
        upright = max(map(len, column.labels)) > 2
        axes.set_xticks(range(len(column.labels)), column.labels, rotation=90 if upright else 0)


def _edges(column: Column) -> np.ndarray:
    """Edges of the bins: one bin for each label, or even ones; in double precision, where close edges differ."""
    if column.labels:
        return np.arange(len(column.labels) + 1) - 0.5
    every = np.concatenate([column.reference, column.current]).astype(np.float64)
    if every.size and every.min() == every.max():
        half = max(1.0, abs(every[0])) / 2
        return np.array([every[0] - half, every[0] + half])
    return np.histogram_bin_edges(every, BINS)
