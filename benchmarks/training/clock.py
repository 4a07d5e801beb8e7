"""Seconds of training, without those of evaluation."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Point(NamedTuple):
    """The test accuracy after so many seconds of training, in wall time and in CPU time of all cores."""

    seconds: float
    cpu_seconds: float
    accuracy: float


class Clock:
    """Measures the time of training; it is paused during evaluation.

    The model is evaluated whenever a multiple of `interval` seconds has passed; training ends after `limit` seconds.
    """

    def __init__(self, interval: float, limit: float) -> None:
        self.interval = interval
        self.limit = limit
        self.points: list[Point] = []
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self._start()

    def is_due(self) -> bool:
        """Whether an evaluation is due."""
        return self._now()[0] >= self.interval * (1 + (self.seconds // self.interval))

    def is_over(self) -> bool:
        """Whether the time is used up."""
        return self._now()[0] >= self.limit

    def evaluate(self, accuracy: Callable[[], float]) -> None:
        """Stop, note the accuracy, go on."""
        self.seconds, self.cpu_seconds = self._now()
        self.points.append(Point(self.seconds, self.cpu_seconds, accuracy()))
        self._start()

    def _start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def _now(self) -> tuple[float, float]:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return self.seconds + wall, self.cpu_seconds + cpu
