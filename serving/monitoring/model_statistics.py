"""Inference statistics by version of the model, as Triton's statistics extension has them."""

import time
import warnings
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.multiprocess import MultiProcessCollector

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
BATCHES = {"batches": "Runs of the model by number of examples", "batch_seconds": "Duration of these runs"}
LAST = "last_request_timestamp_seconds"
IDLE_SECONDS = 600.0  # without a run, after which a version other than the champion is taken to be unloaded


class ModelStatistics:
    """The counters of one worker, filled by `flush` as single increments would cost as much as a small model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = {
            name: Counter(PREFIX + name, about, ("version",), registry=registry) for name, about in COUNTERS.items()
        }
        self._batches = {
            name: Counter(PREFIX + name, about, ("version", "examples"), registry=registry)
            for name, about in BATCHES.items()
        }
        about = "Time of the last inference request"
        self._last = Gauge(PREFIX + LAST, about, ("version",), registry=registry, multiprocess_mode="max")
        self._successes: list[tuple[str, int, float, float]] = []
        self._runs: dict[tuple[str, int], list[float]] = {}
        self._last_runs: dict[str, float] = {}  # seconds of the monotonic clock, by version

    def success(self, version: str, examples: int, queue: float, run: float) -> None:
        """Note a request and its seconds in the queue and in the model."""
        self._successes.append((version, examples, queue, run))

    def run(self, version: str, examples: int, seconds: float) -> None:
        """Note one run of the model. It has at most `run_rows` examples, so there are as many values of the label."""
        self._runs.setdefault((version, examples), []).append(seconds)

    def failure(self, version: str, seconds: float) -> None:
        """Count a request that failed after so many seconds."""
        self._add(version, failures=1, failure_seconds=seconds)
        self._last.labels(version).set(time.time())

    def flush(self, champion: str) -> None:
        """Add what was noted to the counters, and remove the counters by number of examples of unloaded versions.

        `champion` is the served version, which may be idle.
        """
        now = time.monotonic()
        for version in [version for version, last in self._last_runs.items() if now - last > IDLE_SECONDS]:
            if version != champion:
                self._remove_batches(version)
        for (version, size), durations in self._runs.items():
            self._last_runs[version] = now
            self._add(version, runs=len(durations))
            self._batches["batches"].labels(version, size).inc(len(durations))
            self._batches["batch_seconds"].labels(version, size).inc(sum(durations))
        for version in {success[0] for success in self._successes}:
            _, examples, queue, run = zip(*(each for each in self._successes if each[0] == version), strict=True)
            amounts = {"examples": sum(examples), "queue_seconds": sum(queue), "run_seconds": sum(run)}
            self._add(version, requests=len(examples), **amounts)
            self._last.labels(version).set(time.time())
        self._runs.clear()
        self._successes.clear()

    def _remove_batches(self, version: str) -> None:
        """Set the counters to 0, which `LoadedVersions` leaves out: the library cannot remove them from its files."""
        del self._last_runs[version]
        for counter in self._batches.values():
            for labels, child in [*counter._metrics.items()]:
                if labels[0] == version:
                    child._value.set(0)  # type: ignore[attr-defined]
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # in the mode with several processes
                        counter.remove(*labels)

    def _add(self, version: str, **amounts: float) -> None:
        for name, amount in amounts.items():
            self._counters[name].labels(version).inc(amount)


class LoadedVersions(MultiProcessCollector):
    """The metrics of all workers, without counters that every worker has removed."""

    def collect(self) -> Iterator[Metric]:
        """Read the files of all workers."""
        for metric in super().collect():  # type: ignore[no-untyped-call]
            if metric.name.removeprefix(PREFIX) in BATCHES:
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric


def read(metrics: Sequence[Metric], version: str) -> dict[str, float]:
    """The counters of a version and the time of its last request, from collected `metrics`; 0 by default."""
    samples = (sample for metric in metrics for sample in metric.samples)
    values = {sample.name: sample.value for sample in samples if sample.labels == {"version": version}}
    names = {name: f"{PREFIX}{name}_total" for name in COUNTERS} | {LAST: PREFIX + LAST}
    return {name: values.get(sample, 0.0) for name, sample in names.items()}


def read_batches(metrics: Sequence[Metric], version: str) -> dict[int, tuple[int, float]]:
    """The number of runs of a version and their seconds by number of examples, from collected `metrics`."""
    values: dict[str, dict[int, float]] = {f"{PREFIX}{name}_total": {} for name in BATCHES}
    for sample in (sample for metric in metrics for sample in metric.samples):
        if sample.name in values and sample.labels["version"] == version:
            values[sample.name][int(sample.labels["examples"])] = sample.value
    counts, seconds = values.values()
    return {examples: (int(counts[examples]), seconds.get(examples, 0.0)) for examples in sorted(counts)}
