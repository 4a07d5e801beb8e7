"""What is counted for Prometheus. Every label has a fixed set of values: no path, no header, no input becomes one.

A request only notes what happened; the notes are added to Prometheus' counters together, once a second
and before they are read. Counting one by one would cost as much as a small model.
"""

import os
from collections import Counter as Tally
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.values import ValueClass

from models.spec import UNKNOWN, DataSpec
from serving.inference.champion import Champion
from serving.monitoring.model_statistics import ModelStatistics

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


def _forget_the_dead(folder: Path) -> None:
    """Without the gauges of workers that were killed: they could not say that another champion answers now."""
    for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(pid, 0)  # no signal: it only asks
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another worker was asked at the same time
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


class Spread:
    """A histogram that is filled in batches."""

    def __init__(self, name: str, about: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> None:
        self._histogram = Histogram(f"tandem_{name}", about, buckets=buckets, registry=registry)
        self._bounds = np.array(buckets)
        self.noted: list[float] = []
        self.arrays: list[np.ndarray] = []

    def flush(self) -> None:
        """Add what was noted. The library only observes single values, so its own counters are used."""
        values = np.concatenate([self.noted, *self.arrays])
        self.noted, self.arrays = [], []
        if not values.size:
            return
        self._histogram._sum.inc(float(values.sum()))
        counts = np.bincount(np.searchsorted(self._bounds, values))
        for bucket, count in zip(self._histogram._buckets, counts.tolist(), strict=False):
            if count:
                bucket.inc(count)


class Metrics:
    """The counters of one worker; Prometheus' multi-process files add the workers up."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._requests = self._count("requests", "Answers by endpoint and status", "endpoint", "status")
        self._rejections = self._count("rejections", "Requests not answered, by reason", "reason")
        self._predictions = self._count("predictions", "Examples by predicted label", "label")
        self._logged = self._count("prediction_log", "Examples to be logged, by what became of them", "result")
        self._unfamiliar = self._count("unfamiliar_values", "Values of a table, by column and why", "feature", "reason")
        self._champions = self._count("champions", "New champions found, by what became of them", "result")
        self._confidence = Spread("confidence", "Largest probability of each example", CONFIDENCE, self.registry)
        self._rows = Spread("run_rows", "Examples in one run of the model", ROWS, self.registry)
        self._queue = Spread("queue_seconds", "Longest wait before a run", SECONDS, self.registry)
        self._run = Spread("run_seconds", "One run of the model", SECONDS, self.registry)
        self._total = Spread("request_seconds", "From a request's headers to its answer", SECONDS, self.registry)
        self.statistics = ModelStatistics(self.registry)
        self._answers: Tally[tuple[str, int]] = Tally()
        self._labels: dict[tuple[str, ...], np.ndarray] = {}
        self._info = Gauge(
            "tandem_champion_info",
            "1 for the champion that answers",
            ("name", "version", "provider"),
            registry=self.registry,
            multiprocess_mode="livemax",
        )

    def _count(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"tandem_{name}", about, labels, registry=self.registry)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Note one request."""
        self._answers[endpoint, status] += 1
        self._total.noted.append(seconds)

    def rejected(self, reason: str) -> None:
        """Count one request that was not answered."""
        self._rejections.labels(reason).inc()

    def logged(self, result: Literal["written", "dropped", "failed"], examples: int) -> None:
        """Count what became of some examples' lines."""
        self._logged.labels(result).inc(examples)

    def count_missing_and_unknown(self, inputs: np.ndarray, spec: DataSpec) -> None:
        """Count what of rows [N, F] is missing, or is a category that the training split has not."""
        found = {"missing": np.isnan(inputs)}
        if any(spec.categories):
            found["unknown"] = (inputs == UNKNOWN) & [bool(names) for names in spec.categories]
        for reason, where in found.items():
            for place in np.flatnonzero(where.any(axis=0)):
                self._unfamiliar.labels(spec.features[place], reason).inc(int(where[:, place].sum()))

    def ran(self, outputs: np.ndarray, champion: Champion, queue: float, run: float) -> None:
        """Note one run of the model: outputs [N, K], the longest wait and the run in seconds."""
        self._rows.noted.append(len(outputs))
        self._queue.noted.append(queue)
        self._run.noted.append(run)
        self.statistics.run(champion.version)
        if champion.spec.task == "classification":
            confidence, predicted = outputs.max(axis=1), outputs.argmax(axis=1)
            if not (finite := np.isfinite(confidence)).all():  # one NaN would spoil the sum for good
                confidence, predicted = confidence[finite], predicted[finite]
            labels = champion.spec.labels
            counted = np.bincount(predicted, minlength=len(labels))
            self._labels[labels] = self._labels.get(labels, 0) + counted
            self._confidence.arrays.append(confidence)

    def champion_changed(
        self, result: Literal["loaded", "swapped", "refused"], now: Champion, before: Champion
    ) -> None:
        """Count a new champion, and say which one answers: `now`, in place of `before`."""
        self._champions.labels(result).inc()
        self._info.labels(before.name, before.version, before.predictor.provider).set(0)
        self._info.labels(now.name, now.version, now.predictor.provider).set(1)

    def flush(self) -> None:
        """Add to the counters what was noted since the last time."""
        for spread in (self._confidence, self._rows, self._queue, self._run, self._total):
            spread.flush()
        self.statistics.flush()
        for (endpoint, status), count in self._answers.items():
            self._requests.labels(endpoint, status).inc(count)
        for labels, counts in self._labels.items():
            for label, count in zip(labels, counts.tolist(), strict=True):
                if count:
                    self._predictions.labels(label).inc(count)
        self._answers.clear()
        self._labels.clear()

    def text(self) -> bytes:
        """Everything in Prometheus' text format, of all workers where there are several."""
        return generate_latest(self.collect())

    def collect(self) -> CollectorRegistry:
        """The metrics of all workers, up to date for this one."""
        self.flush()
        if ValueClass.__name__ != "MmapedValue":
            return self.registry
        _forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        every = CollectorRegistry()
        MultiProcessCollector(every)  # type: ignore[no-untyped-call]
        return every
