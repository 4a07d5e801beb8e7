"""Exported files in their own runtimes: `uv run --group benchmarks python -m benchmarks.inference`.

`cnn` is trained and exported by the stages of the pipeline, on digits and on Fashion-MNIST. Each runtime
has a process with two threads; they take turns, and the results are medians over rounds.
The outputs are compared before anything is measured. A quiet machine needs about six minutes.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import json_lines, machine, output, workspace
from benchmarks.inference import report
from benchmarks.inference.runtimes import RUNTIMES
from benchmarks.json_lines import Server
from benchmarks.paths import RESULTS

CORES = 2
PACKAGES = (
    "torch", "tensorflow", "keras", "onnxruntime-gpu", "onnxruntime", "openvino", "ai-edge-litert", "numpy",
)  # fmt: skip
CHECKED = 64  # examples whose outputs are compared
TOLERANCE = 1e-4  # absolute difference of probabilities in float32
INT8_TOLERANCE = 0.1  # the same of int8 graphs
DATA = ("digits", "fashion_mnist")


@dataclass(frozen=True)
class Plan:
    """What is measured: data sets, runtimes, batch sizes, rounds, and seconds of each measurement."""

    data: tuple[str, ...] = DATA
    runtimes: tuple[str, ...] = tuple(RUNTIMES)
    batches: tuple[int, ...] = (1, 32, 256)
    rounds: int = 5
    seconds: float = 0.5


QUICK = Plan(data=("digits",), rounds=1, seconds=0.05)


def main() -> None:
    """Measure, and write `inference.json`, `inference.md` and `inference.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="digits, one round; its figures are not comparable")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    if find_spec("openvino") is None:
        sys.exit("error: openvino is not installed; run with `uv run --group benchmarks`")
    results = measure(QUICK if options.quick else Plan(), machine.pin(CORES))
    output.write(options.output, "inference", results, report.write(results), partial(report.draw, results))


def measure(plan: Plan, cores: int) -> dict[str, Any]:
    """Median milliseconds of each runtime and batch size, and differences of the outputs, by data set."""
    described = machine.describe(PACKAGES) | {"pinned": cores}
    found = {}
    for data in plan.data:
        with tempfile.TemporaryDirectory(prefix="inference-") as folder:
            make_models(Path(folder), data, sorted({RUNTIMES[name][0] for name in plan.runtimes}))
            found[data] = compare_and_time(plan, Path(folder), cores, data)
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": described,
        "plan": asdict(plan),
        "data": found,
    }


def make_models(folder: Path, data: str, candidates: Sequence[str]) -> None:
    """A workspace with the exported files of the candidates. Raises CalledProcessError if a stage fails."""
    workspace.write(folder, {"data.source": data, "train.epochs": 1, "train.minimum_steps": 200})
    stages = [("load",), ("prepare",), *((stage, name) for name in candidates for stage in ("train", "export"))]
    for stage in tqdm(stages, f"{data}: stages", disable=None):
        command = workspace.command(*stage)
        subprocess.run(command, cwd=folder, env=workspace.environment(), stdout=sys.stderr, check=True)


def compare_and_time(plan: Plan, folder: Path, cores: int, data: str) -> dict[str, Any]:
    """Compare the outputs of all runtimes in a workspace, then measure them in turns."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(_started(name, folder, cores)) for name in plan.runtimes}
        differences = _compare(servers)
        times: dict[str, dict[str, list[float]]] = {name: {str(size): [] for size in plan.batches} for name in servers}
        for _ in tqdm(range(plan.rounds), f"{data}: rounds", disable=None):
            for size in plan.batches:
                for name, server in servers.items():
                    times[name][str(size)].append(server.ask(kind="time", batch=size, seconds=plan.seconds))
    medians = {name: {size: median(values) for size, values in sizes.items()} for name, sizes in times.items()}
    return {"difference": differences, "milliseconds": medians, "rounds": times}


def _compare(servers: Mapping[str, Server]) -> dict[str, float]:
    """The largest difference of each runtime's probabilities from the first of the same candidate.

    Raises RuntimeError if one exceeds its tolerance.
    """
    first: dict[str, np.ndarray] = {}
    differences = {}
    for name, server in servers.items():
        outputs = np.array(server.ask(kind="predict", batch=CHECKED))
        expected = first.setdefault(RUNTIMES[name][0], outputs)
        differences[name] = float(np.abs(outputs - expected).max())
        allowed = INT8_TOLERANCE if "int8" in name else TOLERANCE
        if differences[name] > allowed:
            raise RuntimeError(f"{name}: probabilities differ by {differences[name]:.2g}; allowed: {allowed}")
    return differences


@contextmanager
def _started(name: str, folder: Path, cores: int) -> Iterator[Server]:
    """The process of a runtime, with its model open."""
    command = [sys.executable, "-m", "benchmarks.inference.server", name, str(cores)]
    environment = workspace.environment() | {"OMP_NUM_THREADS": str(cores)}
    with json_lines.started(command, folder, environment) as server:
        server.answer()
        yield server


if __name__ == "__main__":
    main()
