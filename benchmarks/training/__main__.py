"""Training compared with reference examples, on Fashion-MNIST and two cores: `uv run python -m benchmarks.training`.

Time to 0.92 test accuracy, accuracy after fixed times, and images per second. Times do not include evaluation. Each run
has its own process; for each seed the systems run in turn, and medians over the seeds are reported. It takes about an
hour on an idle machine.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks import machine, output
from benchmarks.paths import RESULTS
from benchmarks.training import report
from benchmarks.training.clock import Point
from benchmarks.training.run import SYSTEMS, THROUGHPUT

CORES = 2
TARGET = 0.92
TIMES = (30, 60, 120, 300)
PACKAGES = ("torch", "tensorflow", "keras", "numpy", "pillow")


@dataclass(frozen=True)
class Plan:
    """The extent of the measurement: seeds, seconds of training and of each throughput, and images of each split."""

    seeds: int = 3
    seconds: float = 300.0
    throughput_seconds: float = 20.0
    examples: int = 60_000


QUICK = Plan(1, 4.0, 0.1, 2_000)


def main() -> None:
    """Measure, and write `training.json`, `training.md` and `training.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few minutes; the figures are not comparable")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    results = measure(QUICK if options.quick else Plan())
    output.write(options.output, "training", results, report.write(results), partial(report.draw, results))


def measure(plan: Plan) -> dict[str, Any]:
    """All runs, and their medians."""
    cores = machine.pin(CORES)
    curves: dict[str, list[list[Point]]] = {system: [] for system in SYSTEMS}
    precisions: dict[str, list[str]] = {system: [] for system in dict.fromkeys((*SYSTEMS, *THROUGHPUT))}
    for seed, system in tqdm([*product(range(plan.seeds), SYSTEMS)], "accuracy", disable=None):
        run = _run(plan, cores, "accuracy", system, plan.seconds, seed)
        curves[system].append([Point(**point) for point in run["found"]])
        precisions[system].append(run["precision"])
    throughput: dict[str, list[dict[str, float]]] = {system: [] for system in THROUGHPUT}
    for _, system in tqdm([*product(range(plan.seeds), THROUGHPUT)], "throughput", disable=None):
        run = _run(plan, cores, "throughput", system, plan.throughput_seconds)
        throughput[system].append(run["found"])
        precisions[system].append(run["precision"])
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(PACKAGES) | {"pinned": cores},
        "plan": plan.__dict__,
        "target": TARGET,
        "precision": precisions,
        "systems": {system: summary(runs) for system, runs in curves.items()},
        "throughput": {system: _medians(rates) for system, rates in throughput.items()},
        "curves": {system: [[point._asdict() for point in run] for run in runs] for system, runs in curves.items()},
    }


def summary(runs: list[list[Point]]) -> dict[str, Any]:
    """Medians over the seeds: seconds to the target (null if most seeds missed it), and accuracy after TIMES."""
    missed = Point(float("inf"), float("inf"), 0.0)
    reached = [next((point for point in run if point.accuracy >= TARGET), missed) for run in runs]
    seconds, cpu_seconds = median(point.seconds for point in reached), median(point.cpu_seconds for point in reached)
    return {
        "seconds": seconds if seconds < float("inf") else None,
        "cpu_seconds": cpu_seconds if cpu_seconds < float("inf") else None,
        "accuracy": {str(time): median(accuracy_after(run, time) for run in runs) for time in TIMES},
        "final": median(run[-1].accuracy for run in runs),
        "final_seconds": median(run[-1].seconds for run in runs),
    }


def accuracy_after(run: list[Point], seconds: float) -> float:
    """The accuracy of the last evaluation before that time; 0 before the first."""
    return next((point.accuracy for point in reversed(run) if point.seconds <= seconds), 0.0)


def _medians(rates: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(rate[name] for rate in rates) for name in rates[0]}


def _run(plan: Plan, cores: int, measurement: str, system: str, seconds: float, seed: int = 0) -> Any:
    """The precision and the results of one process. Raises CalledProcessError if it fails; its messages are printed."""
    arguments = [measurement, system, "--seed", str(seed), "--seconds", str(seconds), "--examples", str(plan.examples)]
    threads = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    environment = os.environ | dict.fromkeys(threads, str(cores)) | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "benchmarks.training.run", *arguments]
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
