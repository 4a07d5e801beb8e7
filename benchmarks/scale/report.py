"""The table and the chart of the scale benchmark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import machine

LIMIT_MB = 1500  # peak resident memory of every stage


def write(results: dict[str, Any]) -> str:
    """Markdown."""
    return "\n".join(
        [
            "# Stages by the number of images",
            "",
            f"{machine.sentence(results['machine'])}. Images of 28×28 pixels; each cell gives wall-clock seconds, CPU "
            "seconds, and peak resident memory of all processes.",
            "",
            *_table(results),
            "",
        ]
    )


def _table(results: dict[str, Any]) -> Iterator[str]:
    sizes = results["sizes"]
    yield f"| stage | {' | '.join(f'{size:,}' for size in sizes)} |"
    yield "|---" * (len(sizes) + 1) + "|"
    for stage, usages in results["stages"].items():
        cells = (usages[str(size)] for size in sizes)
        shown = (f"{each['seconds']:.1f} s · {each['cpu_seconds']:.1f} s · {each['peak_mb']:,.0f} MB" for each in cells)
        yield f"| `{stage}` | {' | '.join(shown)} |"


def draw(results: dict[str, Any], path: Path) -> None:
    """Seconds and memory over the number of images, both axes logarithmic; a line for each stage."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for stage, usages in results["stages"].items():
        sizes = [int(size) for size in usages]
        left.plot(sizes, [each["seconds"] for each in usages.values()], marker=".", label=stage)
        right.plot(sizes, [each["peak_mb"] for each in usages.values()], marker=".", label=stage)
    right.axhline(LIMIT_MB, color="grey", linewidth=1, linestyle="--")
    left.set(xlabel="images", ylabel="seconds", xscale="log", yscale="log")
    right.set(xlabel="images", ylabel="peak resident memory, MB", xscale="log", ylim=(0, None))
    left.legend()
    figure.savefig(path, dpi=120)
