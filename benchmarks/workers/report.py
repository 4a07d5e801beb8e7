"""The table and the chart of the benchmark of data-parallel training."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import machine


def write(results: dict[str, Any]) -> str:
    """Markdown."""
    return "\n".join(
        [
            "# Data-parallel training",
            "",
            f"{machine.sentence(results['machine'])}. `cnn` in float32. Images per second, medians of "
            f"{results['plan']['epochs']} epochs; the speed-up is that of the last system over the one before.",
            "",
            *_table(results["rates"]),
            "",
        ]
    )


def _table(rates: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    names = list(next(iter(next(iter(rates.values())).values())))
    yield f"| images | framework | {' | '.join(names)} | speed-up |"
    yield "|---" * (len(names) + 3) + "|"
    for framework, by_data in rates.items():
        for data, by_name in by_data.items():
            *_, before, last = by_name.values()
            cells = " | ".join(f"{rate:,.0f}" for rate in by_name.values())
            yield f"| {data} | {framework} | {cells} | {last / before:.2f} |"


def draw(results: dict[str, Any], path: Path) -> None:
    """Images per second; a panel for each framework and data set."""
    rates = results["rates"]
    panels = [(framework, data) for framework, by_data in rates.items() for data in by_data]
    figure = Figure(figsize=(4 * len(panels), 3), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (framework, data) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        by_name = rates[framework][data]
        axes.barh(list(by_name), list(by_name.values()))
        axes.invert_yaxis()
        axes.set(title=f"{framework}, {data}", xlabel="images per second")
    figure.savefig(path, dpi=120)
