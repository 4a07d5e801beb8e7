"""Inference statistics by version of the model, as Triton's statistics extension has them."""

import time
from collections import defaultdict

from prometheus_client import CollectorRegistry, Counter, Gauge

PREFIX = "tandem_model_"
COUNTERS = {
    "requests": "Successful inference requests",
    "examples": "Examples in successful inference requests",
    "queue_seconds": "Time that successful inference requests spent in the queue",
    "run_seconds": "Time that successful inference requests spent in the model",
    "failures": "Failed inference requests",
    "failure_seconds": "Time until inference requests failed",
    "runs": "Runs of the model",
}
LAST = "last_request_timestamp_seconds"


class ModelStatistics:
    """The counters of one worker, filled by `flush` as single increments would cost as much as a small model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = [
            Counter(PREFIX + name, about, ("version",), registry=registry) for name, about in COUNTERS.items()
        ]
        about = "Time of the last inference request"
        self._last = Gauge(PREFIX + LAST, about, ("version",), registry=registry, multiprocess_mode="max")
        self._noted: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(COUNTERS))

    def success(self, version: str, examples: int, queue: float, run: float) -> None:
        """Note a request and its seconds in the queue and in the model."""
        noted = self._noted[version]
        noted[0] += 1
        noted[1] += examples
        noted[2] += queue
        noted[3] += run

    def failure(self, version: str, seconds: float) -> None:
        """Note a request that failed after so many seconds."""
        noted = self._noted[version]
        noted[4] += 1
        noted[5] += seconds

    def run(self, version: str) -> None:
        """Note one run of the model."""
        self._noted[version][6] += 1

    def flush(self) -> None:
        """Add what was noted to the counters."""
        for version, noted in self._noted.items():
            for counter, amount in zip(self._counters, noted, strict=True):
                counter.labels(version).inc(amount)
            if noted[0] or noted[4]:
                self._last.labels(version).set(time.time())
        self._noted.clear()


def read(registry: CollectorRegistry, version: str) -> dict[str, float]:
    """The counters of a version and the time of its last request, from all workers in `registry`; 0 by default."""
    samples = (sample for metric in registry.collect() for sample in metric.samples)
    values = {sample.name: sample.value for sample in samples if sample.labels == {"version": version}}
    names = {name: f"{PREFIX}{name}_total" for name in COUNTERS} | {LAST: PREFIX + LAST}
    return {name: values.get(sample, 0.0) for name, sample in names.items()}
