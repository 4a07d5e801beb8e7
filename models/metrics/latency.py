"""Latency and throughput of calls."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

WARM_UP_SHARE = 0.2  # of the time, before measuring: for caches and clock frequencies
WARM_UP_CALLS = 5  # however slow they are
MIN_CALLS = 10  # for the ninth decile
MIN_TAIL_CALLS = 100  # for the 99th percentile: of fewer calls none is slower than it


@dataclass(frozen=True)
class Latency:
    """Percentiles of the time of one call in milliseconds over so many `calls`, and examples per second.

    `p99_ms` is None where there were fewer than MIN_TAIL_CALLS.
    """

    p50_ms: float
    p90_ms: float
    p99_ms: float | None
    calls: int
    examples_per_second: int


def time_calls(
    calls: Sequence[Callable[[], object]], batch_size: int, seconds: float, minimum: int = MIN_CALLS
) -> list[Latency]:
    """Time interleaved calls for `seconds` in all, warm-up included; other load on the machine affects all alike.

    Each call processes `batch_size` examples and is made at least `minimum` times.
    """
    _time_rounds(calls, seconds * WARM_UP_SHARE, WARM_UP_CALLS)
    return [summarise(times, batch_size) for times in _time_rounds(calls, seconds * (1 - WARM_UP_SHARE), minimum).T]


def summarise(times: np.ndarray, batch_size: int) -> Latency:
    """Percentiles and throughput of call times, float64 [calls] in seconds."""
    p50, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]) * 1e3)
    tail = p99 if len(times) >= MIN_TAIL_CALLS else None
    return Latency(p50, p90, tail, len(times), round(batch_size * len(times) / times.sum()))


def _time_rounds(calls: Sequence[Callable[[], object]], seconds: float, minimum: int) -> np.ndarray:
    """Seconds float64 [rounds, calls]."""
    rounds: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < minimum or time.perf_counter() < end:
        rounds.append([_time_call(call) for call in calls])
    return np.array(rounds)


def _time_call(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
