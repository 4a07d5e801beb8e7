"""The tables and the chart of the training benchmark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import machine

TITLES = {
    "tandem-torch": "Tandem, PyTorch twin",
    "tandem-keras": "Tandem, Keras twin",
    "pytorch-example": "PyTorch MNIST example",
    "keras-example": "Keras MNIST example",
    "plain-torch": "plain PyTorch loop",
    "plain-keras": "Keras `fit` and `evaluate`",
}


def write(results: dict[str, Any]) -> str:
    """Markdown."""
    return "\n".join(
        [
            "# Training on Fashion-MNIST",
            "",
            f"{machine.sentence(results['machine'])}. Medians of {results['plan']['seeds']} seeds. "
            "Times are of training alone.",
            "",
            *_accuracy(results),
            "",
            *_throughput(results),
            "",
        ]
    )


def _precision(results: dict[str, Any], system: str) -> str:
    """The precisions of all runs of a system."""
    return ", ".join(sorted(set(results["precision"][system])))


def _accuracy(results: dict[str, Any]) -> Iterator[str]:
    times = list(next(iter(results["systems"].values()))["accuracy"])
    after = " | ".join(f"after {time} s" for time in times)
    yield f"| system | precision | s to {results['target']} | CPU s | {after} | last |"
    yield "|---" * (len(times) + 5) + "|"
    for system, found in results["systems"].items():
        accuracies = " | ".join(f"{value:.3f}" if value else "–" for value in found["accuracy"].values())
        seconds = " | ".join(f"{found[name]:.0f}" if found[name] else "–" for name in ("seconds", "cpu_seconds"))
        last = f"{found['final']:.3f} at {found['final_seconds']:.0f} s"
        yield f"| {TITLES[system]} | {_precision(results, system)} | {seconds} | {accuracies} | {last} |"


def _throughput(results: dict[str, Any]) -> Iterator[str]:
    yield "| images per second | precision | training | evaluation | training, per CPU s | evaluation, per CPU s |"
    yield "|---|---|---|---|---|---|"
    for system, rates in results["throughput"].items():
        names = ("training", "evaluation", "training_cpu", "evaluation_cpu")
        cells = " | ".join(f"{rates[name]:,.0f}" for name in names)
        yield f"| {TITLES[system]} | {_precision(results, system)} | {cells} |"


def draw(results: dict[str, Any], path: Path) -> None:
    """Test accuracy over seconds of training: a line for each seed, a colour for each system."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (system, runs) in enumerate(results["curves"].items()):
        for index, run in enumerate(runs):
            seconds, accuracies = ([point[name] for point in run] for name in ("seconds", "accuracy"))
            label = TITLES[system] if index == 0 else None
            axes.plot(seconds, accuracies, f"C{number}", label=label, marker=".", alpha=0.8)
    axes.axhline(results["target"], color="grey", linewidth=1, linestyle="--")
    axes.set(xlabel="seconds of training", ylabel="test accuracy", ylim=(0.8, 0.95))
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
