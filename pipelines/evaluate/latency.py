"""How long a call takes, and how much it does in a second."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

WARM_UP = 0.2  # share of the time that is spent before measuring, so that caches and clocks have settled
FEWEST = 5  # calls, however slow they are


@dataclass(frozen=True)
class Latency:
    """Percentiles of the time of one call in milliseconds, and examples per second over all calls."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    examples_per_second: int


def measure(calls: Sequence[Callable[[], object]], batch: int, seconds: float) -> list[Latency]:
    """Call each in turn, again and again, for `seconds` in all, warm-up included: what disturbs one disturbs all.

    `batch` is the number of examples a call processes.
    """
    _times(calls, seconds * WARM_UP)
    return [summarise(times, batch) for times in _times(calls, seconds * (1 - WARM_UP)).T]


def summarise(times: np.ndarray, batch: int) -> Latency:
    """Percentiles and throughput of call times, float64 [calls] in seconds."""
    p50, p90, p99 = np.percentile(times, [50, 90, 99]) * 1e3
    return Latency(float(p50), float(p90), float(p99), round(batch * len(times) / times.sum()))


def _times(calls: Sequence[Callable[[], object]], seconds: float) -> np.ndarray:
    """Seconds float64 [rounds, calls]."""
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < FEWEST or time.perf_counter() < end:
        rounds.append([_time(call) for call in calls])
    return np.array(rounds)


def _time(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
