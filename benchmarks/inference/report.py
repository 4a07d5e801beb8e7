"""The tables and the chart of the inference benchmark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import machine


def write(results: dict[str, Any]) -> str:
    """Markdown."""
    plan = results["plan"]
    return "\n".join(
        [
            "# Exported files in their runtimes",
            "",
            f"{machine.sentence(results['machine'])}. Medians of {plan['rounds']} rounds; each cell gives milliseconds "
            "per call and images per second.",
            *(line for data, found in results["data"].items() for line in _table(data, found)),
            "",
        ]
    )


def _table(data: str, found: dict[str, Any]) -> Iterator[str]:
    sizes = list(next(iter(found["milliseconds"].values())))
    yield from ("", f"## {data}", "")
    yield f"| runtime | {' | '.join(f'batch {size}' for size in sizes)} | largest difference |"
    yield "|---" * (len(sizes) + 2) + "|"
    for name, times in found["milliseconds"].items():
        cells = " | ".join(f"{each:.3g} · {1000 * int(size) / each:,.0f}" for size, each in times.items())
        yield f"| {name} | {cells} | {found['difference'][name]:.1e} |"


def draw(results: dict[str, Any], path: Path) -> None:
    """Images per second of each runtime and batch size; a panel for each data set."""
    data = results["data"]
    figure = Figure(figsize=(5 * len(data), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, found) in zip(figure.subplots(1, len(data), squeeze=False)[0], data.items(), strict=True):
        runtimes = list(found["milliseconds"])
        sizes = list(next(iter(found["milliseconds"].values())))
        for number, size in enumerate(sizes):
            rates = [1000 * int(size) / found["milliseconds"][runtime][size] for runtime in runtimes]
            places = [row + (number + 0.5) / len(sizes) - 0.5 for row in range(len(runtimes))]
            axes.barh(places, rates, 0.8 / len(sizes), label=f"batch {size}")
        axes.set_yticks(range(len(runtimes)), runtimes)
        axes.invert_yaxis()
        axes.set(title=name, xlabel="images per second", xscale="log")
    figure.axes[0].legend(fontsize="small")
    figure.savefig(path, dpi=120)
