"""Prometheus metrics. Labels have a fixed set of values: none is taken from a path, a header or an input.

Values are collected per request and added to the counters once a second and before they are read: incrementing them
one by one would cost as much as running a small model.
"""

import os
from collections import Counter as Counts
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import mark_process_dead
from prometheus_client.values import ValueClass

from models.spec import UNKNOWN, DataSpec
from serving.inference.champion import Champion
from serving.monitoring.model_statistics import LoadedVersions, ModelStatistics

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MAX_KEPT = 65_536  # outputs of runs that are counted together: 256 kB
RUN_SIZE = 32  # outputs that take as much memory as the array of a run without them
CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


def _remove_dead_workers(folder: Path) -> None:
    """Remove the gauges of killed workers, which would report a champion that is no longer served."""
    for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(pid, 0)  # sends no signal, only checks that the process exists
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # removed by another worker at the same time
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


class BufferedHistogram:
    """A histogram whose values are added in batches: single ones in `values`, arrays [n] in `arrays`."""

    def __init__(self, name: str, about: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> None:
        self._histogram = Histogram(f"tandem_{name}", about, buckets=buckets, registry=registry)
        self._bounds = np.array(buckets)
        self.values: list[float] = []
        self.arrays: list[np.ndarray] = []

    def flush(self) -> None:
        """Add the buffered values. The library has no batch interface, so its internal counters are incremented."""
        values = np.concatenate([self.values, *self.arrays])
        self.values, self.arrays = [], []
        if not values.size:
            return
        self._histogram._sum.inc(float(values.sum()))
        counts = np.bincount(np.searchsorted(self._bounds, values))
        for bucket, count in zip(self._histogram._buckets, counts.tolist(), strict=False):
            if count:
                bucket.inc(count)


class Metrics:
    """The metrics of one worker; Prometheus' multi-process mode sums those of all workers."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._requests = self._count("requests", "Responses by endpoint and status", "endpoint", "status")
        self._rejections = self._count("rejections", "Rejected requests by reason", "reason")
        self._predictions = self._count("predictions", "Examples by predicted label", "label")
        self._logged = self._count("prediction_log", "Examples for the prediction log by result", "result")
        self._unfamiliar = self._count(
            "unfamiliar_values", "Missing and unknown values of a table by column", "feature", "reason"
        )
        self._keys = self._count("key_requests", "Requests with a named API key by result", "key", "result")
        self._champions = self._count("champions", "New champions by result", "result")
        for result in ("loaded", "swapped", "refused"):
            self._champions.labels(result)  # from 0: Prometheus sees no increase in a value that has just appeared
        self._confidence = self._histogram("confidence", "Largest probability of each example", CONFIDENCE_BUCKETS)
        self._rows = self._histogram("run_rows", "Examples in one run of the model", BATCH_SIZE_BUCKETS)
        self._queue = self._histogram("queue_seconds", "Longest time in the queue of the requests of a run")
        self._run = self._histogram("run_seconds", "Duration of a run of the model")
        self._total = self._histogram("request_seconds", "Time from request headers to response")
        self.statistics = ModelStatistics(self.registry)
        self._responses: Counts[tuple[str, int]] = Counts()
        self._key_uses: Counts[tuple[str, str]] = Counts()
        self._outputs: dict[tuple[str, ...], list[np.ndarray]] = {}  # of classifiers, not yet counted, by labels
        self._kept = 0  # their size
        self._labels: dict[tuple[str, ...], np.ndarray] = {}
        self._info = Gauge(
            "tandem_champion_info",
            "1 for the served champion",
            ("name", "version", "provider"),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._registry_age: Gauge | None = None
        self._served_version = ""

    def _count(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"tandem_{name}", about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...] = SECONDS_BUCKETS) -> BufferedHistogram:
        return BufferedHistogram(name, about, buckets, self.registry)

    def record_request(self, endpoint: str, status: int, seconds: float) -> None:
        """Record one response."""
        self._responses[endpoint, status] += 1
        self._total.values.append(seconds)

    def count_rejection(self, reason: str) -> None:
        """Count one rejected request."""
        self._rejections.labels(reason).inc()

    def count_key(self, name: str, result: Literal["accepted", "over_quota"]) -> None:
        """Count one request with a named API key."""
        self._key_uses[name, result] += 1

    def count_logged(self, result: Literal["written", "dropped", "failed"], examples: int) -> None:
        """Count examples of the prediction log."""
        self._logged.labels(result).inc(examples)

    def count_missing_and_unknown(self, inputs: np.ndarray, spec: DataSpec) -> None:
        """Count missing values of rows [N, F], and categories that are not in the training split."""
        masks = {"missing": np.isnan(inputs)}
        if any(spec.categories):
            masks["unknown"] = (inputs == UNKNOWN) & [bool(names) for names in spec.categories]
        for reason, mask in masks.items():
            for column in np.flatnonzero(mask.any(axis=0)):
                self._unfamiliar.labels(spec.features[column], reason).inc(int(mask[:, column].sum()))

    def record_run(self, outputs: np.ndarray, champion: Champion, queue: float, run: float) -> None:
        """Record one run of the model: outputs [N, K], longest time in the queue and duration in seconds."""
        self._rows.values.append(len(outputs))
        self._queue.values.append(queue)
        self._run.values.append(run)
        self.statistics.run(champion.version, len(outputs), run)
        if champion.spec.is_classification:
            self._outputs.setdefault(champion.spec.labels, []).append(outputs)
            self._kept += outputs.size + RUN_SIZE
            if self._kept > MAX_KEPT:
                self._count_outputs()

    def _count_outputs(self) -> None:
        """Count labels and confidences of the kept outputs: run by run, that takes 12 us each."""
        for labels, parts in self._outputs.items():
            outputs = np.concatenate(parts)
            confidence, predicted = outputs.max(axis=1), outputs.argmax(axis=1)
            if not (finite := np.isfinite(confidence)).all():  # one NaN would make the sum NaN for good
                confidence, predicted = confidence[finite], predicted[finite]
            counts = np.bincount(predicted, minlength=len(labels))
            self._labels[labels] = self._labels.get(labels, 0) + counts
            self._confidence.arrays.append(confidence)
        self._outputs.clear()
        self._kept = 0

    def champion_changed(
        self, result: Literal["loaded", "swapped", "refused"], now: Champion, before: Champion
    ) -> None:
        """Count a new champion and set the served one: `now`, in place of `before`."""
        self._champions.labels(result).inc()
        self._served_version = now.version
        self._info.labels(before.name, before.version, before.predictor.provider).set(0)
        self._info.labels(now.name, now.version, now.predictor.provider).set(1)

    def set_registry_age(self, seconds: float) -> None:
        """Set the time since the last successful check of the model registry; without one there is no such metric."""
        if self._registry_age is None:
            about = "Time since the last successful check of the model registry"
            name = "tandem_registry_age_seconds"
            self._registry_age = Gauge(name, about, registry=self.registry, multiprocess_mode="livemax")
        self._registry_age.set(seconds)

    def flush(self) -> None:
        """Add the values collected since the last call to the counters."""
        self._count_outputs()
        for histogram in (self._confidence, self._rows, self._queue, self._run, self._total):
            histogram.flush()
        self.statistics.flush(self._served_version)
        for (endpoint, status), count in self._responses.items():
            self._requests.labels(endpoint, status).inc(count)
        for use, count in self._key_uses.items():
            self._keys.labels(*use).inc(count)
        for labels, counts in self._labels.items():
            for label, count in zip(labels, counts.tolist(), strict=True):
                if count:
                    self._predictions.labels(label).inc(count)
        self._responses.clear()
        self._key_uses.clear()
        self._labels.clear()

    def text(self) -> bytes:
        """The metrics of all workers in the text format of Prometheus, those of this one as of the last `flush`."""
        return generate_latest(self.collect())

    def collect(self) -> CollectorRegistry:
        """The metrics of all workers, those of this one as of the last `flush`. Reads files, so it takes a thread."""
        if ValueClass.__name__ != "MmapedValue":
            return self.registry
        _remove_dead_workers(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        every = CollectorRegistry()
        LoadedVersions(every)  # type: ignore[no-untyped-call]
        return every
