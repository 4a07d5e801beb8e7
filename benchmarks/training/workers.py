"""Speed-up of data-parallel training: two workers with one thread each over one process with two threads.

`uv run python -m benchmarks.training.workers` trains `cnn` in float32 in both frameworks, on 8x8 digits and on 28x28
images of Fashion-MNIST. One process and two workers take turns, epoch by epoch; the figures are medians of all epochs.
"""

import argparse
import importlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from statistics import median
from typing import get_args

import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

from benchmarks import machine
from benchmarks.training import fashion
from models.config import Framework, Train
from models.interfaces import Learner
from models.training import launchers, loop
from models.training.batches import Split, TrainingData
from models.training.class_weights import class_weights
from models.training.workers import ALONE, Workers
from pipelines.cli.banners import STDOUT, banners_hidden
from pipelines.config import params
from pipelines.processes.process import THREADS

CORES = 2
BATCH_SIZES = {"digits": 32, "fashion_mnist": 128}
IMAGES = 2_560  # of Fashion-MNIST, in an epoch


def main() -> None:
    """Measure, and print a table; with `--worker`, be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15, help="of each measurement")
    parser.add_argument("--worker", choices=get_args(Framework), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(options.worker)
        return
    machine.pin(CORES)
    print("| images | framework | images/s, 1 process | images/s, 2 workers | speed-up |\n|---|---|---|---|---|")
    for framework in get_args(Framework):
        for source, alone, workers in measure(framework, options.epochs):
            print(f"| {source} | {framework} | {alone:,.0f} | {workers:,.0f} | {workers / alone:.2f} |", flush=True)


def measure(framework: Framework, epochs: int) -> Iterator[tuple[str, float, float]]:
    """For each source the images per second of one process and of two workers; one epoch before is not counted."""
    addresses = free_addresses(CORES)
    pair = [launchers.write(framework, addresses, rank, rank) for rank in range(CORES)]
    with ExitStack() as stack:
        alone = [stack.enter_context(start(framework, CORES, {}))]
        workers = [stack.enter_context(start(framework, 1, environment)) for environment in pair]
        for source in BATCH_SIZES:
            rates = [(train(alone, source), train(workers, source)) for _ in tqdm(range(epochs + 1), source)][1:]
            yield source, median(rate for rate, _ in rates), median(rate for _, rate in rates)


def start(framework: Framework, threads: int, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    """A process that trains an epoch for each line of its standard input."""
    own = {**dict.fromkeys(THREADS, str(threads)), "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    command, pipe = [sys.executable, "-m", "benchmarks.training.workers", "--worker", framework], subprocess.PIPE
    return subprocess.Popen(command, env=os.environ | own, stdin=pipe, stdout=pipe, text=True)


def train(processes: Sequence["subprocess.Popen[str]"], source: str) -> float:
    """Images per second of an epoch in all processes together. Raises ValueError if one of them has ended."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{source}\n")
        process.stdin.flush()
    return min(float(process.stdout.readline()) for process in processes if process.stdout is not None)


def serve(framework: Framework) -> None:
    """Train an epoch for each source on standard input; print its images per second."""
    config = params.read().train.model_copy(update={"device": "cpu", "precision": "float32", "minimum_steps": 0})
    device = importlib.import_module(f"models.{framework}.device").choose(config)
    place, workers = launchers.read(framework, os.environ), ALONE
    if place:
        with banners_hidden(STDOUT):  # of gloo
            workers = importlib.import_module(f"models.{framework}.workers").join(place, device)
    make = cache(lambda source: learner(framework, source, config, device, workers))
    for line in sys.stdin:
        own, data, changed = make(line.strip())
        begin = time.perf_counter()
        loop.run(own, data, changed, lambda *_: None, lambda _: None, workers=workers)
        print(len(data.train) / (time.perf_counter() - begin), flush=True)


def learner(
    framework: Framework, source: str, config: Train, device: object, workers: Workers
) -> tuple[Learner, TrainingData, Train]:
    """A new `cnn`, its data, and the parameters of a training of one epoch."""
    data, config = dataset(source), config.model_copy(update={"epochs": 1, "batch_size": BATCH_SIZES[source]})
    model = importlib.import_module(f"models.{framework}.cnn").build(data.spec, params.read().models.cnn)
    weights = class_weights(config, data.train, data.spec.outputs)
    own = importlib.import_module(f"models.{framework}.fit").Learner(model, config, device, weights, workers)
    return own, data, config


def dataset(source: str) -> TrainingData:
    """The images; two of them are enough for the validation, which is not measured."""
    images = fashion.read().first(IMAGES)
    inputs, targets, spec = images.images, images.labels, images.spec
    if source == "digits":
        bunch = load_digits()
        inputs, targets = bunch.images.astype(np.uint8)[..., None], bunch.target.astype(np.int64)
        spec = replace(spec, name="digits", shape=(8, 8, 1), labels=tuple("0123456789"))
    return TrainingData(Split(inputs, targets), Split(inputs[:2], targets[:2]), spec)


def free_addresses(count: int) -> list[str]:
    """Addresses of this machine, with ports that are free."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


if __name__ == "__main__":
    main()
