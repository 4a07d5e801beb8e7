"""One run of the training benchmark in its own process, started by `benchmarks.training`: JSON on the last line.

A process imports one framework.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.training import fashion
from benchmarks.training.clock import Clock
from benchmarks.training.fashion import Fashion

INTERVAL = 10.0  # seconds of training between evaluations of the peers
Train = Callable[[Fashion, int, Clock], str | None]  # returns the precision, None is float32
SYSTEMS = ("tandem-torch", "tandem-keras", "pytorch-example", "keras-example")
FLOAT32 = "float32"
THROUGHPUT = ("tandem-torch", "plain-torch", "tandem-keras", "plain-keras")


def main() -> None:
    """Run the system that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measurement", choices=("accuracy", "throughput"))
    parser.add_argument("system", choices=sorted({*SYSTEMS, *THROUGHPUT}))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, required=True, help="of training, or of each throughput")
    parser.add_argument("--examples", type=int, required=True, help="number of examples of both splits")
    options = parser.parse_args()
    data = fashion.read().first(options.examples)
    if options.measurement == "throughput":
        precision, found = throughput(options.system, data, options.seconds)
    else:
        clock = Clock(min(INTERVAL, options.seconds / 4), options.seconds)
        precision = trainer(options.system)(data, options.seed, clock) or FLOAT32
        found = [point._asdict() for point in clock.points]
    sys.stdout.write(f"{json.dumps({'precision': precision, 'found': found})}\n")


def trainer(system: str) -> Train:
    """The function that trains a system of SYSTEMS."""
    kind, _, name = system.partition("-")
    if kind == "tandem":
        return partial(importlib.import_module("benchmarks.training.twins").train, name)
    train: Train = importlib.import_module(f"benchmarks.training.peers.{kind}_mnist").train
    return train


def throughput(system: str, data: Fashion, seconds: float) -> tuple[str, Any]:
    """The precision of a system of THROUGHPUT, and its images per second."""
    kind, _, framework = system.partition("-")
    module = importlib.import_module("benchmarks.training.throughput")
    if kind == "tandem":
        measured: tuple[str, Any] = module.twin(framework, data, seconds)
        return measured
    return FLOAT32, getattr(module, f"plain_{framework}")(data, seconds)


if __name__ == "__main__":
    main()
