"""Speed-up of data-parallel training on two cores: `uv run python -m benchmarks.workers`.

Two workers with one thread each against one process with two threads, and against one with a single thread. `cnn` is
trained in float32 in both frameworks, on 8x8 digits and on 28x28 images of Fashion-MNIST. The processes take turns,
epoch by epoch; the figures are medians of all epochs. It needs about ten minutes on a quiet machine.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, get_args

from tqdm import tqdm

from benchmarks import json_lines, machine, output, workspace
from benchmarks.json_lines import Server
from benchmarks.paths import REPOSITORY, RESULTS
from benchmarks.workers import report
from models.config import Framework
from pipelines.execution.process import THREADS
from pipelines.train import local_workers

CORES = 2
PACKAGES = ("torch", "tensorflow", "keras", "numpy")
BATCH_SIZES = {"digits": 32, "fashion_mnist": 128}
TOLERANCE = 0.01  # relative difference of the first epoch's loss


@dataclass(frozen=True)
class System:
    """So many processes with so many threads each, which share each batch if there are several."""

    processes: int
    threads: int

    @property
    def name(self) -> str:
        """Its title in the report."""
        kind = "1 process" if self.processes == 1 else f"{self.processes} workers"
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{kind}, {threads}{' each' if self.processes > 1 else ''}"


SINGLE, WHOLE, WORKERS = System(1, 1), System(1, CORES), System(CORES, 1)


@dataclass(frozen=True)
class Plan:
    """What is measured: frameworks, data sets, systems, measured epochs, and the number of images in each at most."""

    frameworks: tuple[Framework, ...] = get_args(Framework)
    data: tuple[str, ...] = tuple(BATCH_SIZES)
    systems: tuple[System, ...] = (SINGLE, WHOLE, WORKERS)
    epochs: int = 15
    images: int = 2_560


QUICK = Plan(epochs=1, images=256)


def main() -> None:
    """Measure, and write `workers.json`, `workers.md` and `workers.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one epoch of 256 images; its figures are not comparable")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    results = measure(QUICK if options.quick else Plan(), machine.pin(CORES))
    output.write(options.output, "workers", results, report.write(results), partial(report.draw, results))


def measure(plan: Plan, cores: int) -> dict[str, Any]:
    """Images per second of each system, by framework and data set, on so many cores."""
    described = machine.describe(PACKAGES) | {"pinned": cores}
    rates: dict[str, dict[str, dict[str, float]]] = {}
    bar = tqdm(total=len(plan.frameworks) * len(plan.data) * (plan.epochs + 1), desc="epochs", disable=None)
    with bar:
        for framework in plan.frameworks:
            with ExitStack() as stack:
                systems = {each.name: stack.enter_context(_started(framework, each)) for each in plan.systems}
                rates[framework] = {data: measure_epochs(plan, systems, data, bar) for data in plan.data}
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": described,
        "plan": asdict(plan),
        "rates": rates,
    }


def measure_epochs(
    plan: Plan, systems: Mapping[str, Sequence[Server]], data: str, bar: "tqdm[Any]"
) -> dict[str, float]:
    """The median images per second of each system. Raises RuntimeError if they do not train the same model."""
    request = {"data": data, "batch_size": BATCH_SIZES[data], "images": plan.images}
    _, losses = _train(systems, request)  # not counted: it compiles the graphs
    bar.update()
    first = next(iter(losses.values()))
    if not all(math.isclose(loss, first, rel_tol=TOLERANCE) for loss in losses.values()):
        raise RuntimeError(f"{data}: the loss of the first epoch differs: {losses}")
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(plan.epochs):
        for name, rate in _train(systems, request)[0].items():
            rates[name].append(rate)
        bar.update()
    return {name: median(values) for name, values in rates.items()}


def _train(
    systems: Mapping[str, Sequence[Server]], request: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float]]:
    """Images per second, and mean loss, of an epoch of each system in turn."""
    rates, losses = {}, {}
    for name, servers in systems.items():
        for server in servers:
            server.send(**request)
        answers = json_lines.gather(servers)
        rates[name] = min(answer["images_per_second"] for answer in answers)
        losses[name] = answers[0]["loss"]
    return rates, losses


@contextmanager
def _started(framework: Framework, system: System) -> Iterator[list[Server]]:
    """The processes of a system, connected with each other."""
    command = [sys.executable, "-m", "benchmarks.workers.server", framework]
    threads = dict.fromkeys(THREADS, str(system.threads))
    common = workspace.environment() | threads
    with TemporaryDirectory() as folder, ExitStack() as stack:
        places = local_workers.places(framework, system.processes, Path(folder)) if system.processes > 1 else [{}]
        servers = [stack.enter_context(json_lines.started(command, REPOSITORY, common | place)) for place in places]
        json_lines.gather(servers)
        yield servers


if __name__ == "__main__":
    main()
