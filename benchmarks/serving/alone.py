"""ONNX Runtime without a server: as many processes as the servers have workers, one thread each."""

import time
from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.serving.champions import Served
from benchmarks.serving.peers.model import Session, open_session

WARM_SECONDS = 0.3


def prepare(pool: Executor, workers: int, served: Served) -> None:
    """Open a session in each process of `pool`."""
    for each in [pool.submit(_prepare, served.model) for _ in range(workers)]:
        each.result()


def images_per_second(pool: Executor, workers: int, served: Served, batches: np.ndarray, seconds: float) -> float:
    """Images per second of all processes of `pool` together, over batches [R, n, H, W, C] in turn."""
    begin = time.time() + WARM_SECONDS
    running = [pool.submit(count_runs, served.model, batches, begin, begin + seconds) for _ in range(workers)]
    runs = sum(each.result() for each in running)
    return float(runs * batches.shape[1] / seconds)


def count_runs(model: Path, batches: np.ndarray, begin: float, end: float) -> int:
    """Runs that were finished between two moments (`time.time`), after running until the first."""
    session = _session(model)
    name = session.get_inputs()[0].name
    number = counted = 0
    while (now := time.time()) < end:
        session.run(None, {name: batches[number % len(batches)]})
        number += 1
        counted += now >= begin
    return counted


def _prepare(model: Path) -> None:
    _session(model)
    time.sleep(1)


@lru_cache(4)
def _session(model: Path) -> Session:
    """One session for each model and process."""
    return open_session(model)
