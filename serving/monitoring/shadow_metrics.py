"""What is counted of the challenger."""

from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.inference.champion import Champion

SECONDS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
DIFFERENCES = (1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)


class ShadowMetrics:
    """The counters of one worker, beside the champion's in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "tandem_shadow_requests", "Requests of the share, by what became of them", ("result",), registry=registry
        )
        self._examples = Counter(
            "tandem_shadow_examples", "Examples by whether both name the same label", ("top1",), registry=registry
        )
        self._challengers = Counter(
            "tandem_challengers", "New challengers found, by what became of them", ("result",), registry=registry
        )
        self._difference = Histogram(
            "tandem_shadow_difference",
            "Largest difference between the outputs for an example",
            buckets=DIFFERENCES,
            registry=registry,
        )
        self._seconds = Histogram(
            "tandem_shadow_run_seconds",
            "One run of the challenger, in a thread that gives way to the champion",
            buckets=SECONDS,
            registry=registry,
        )
        self._info = Gauge(
            "tandem_challenger_info",
            "1 for the challenger that is compared",
            ("name", "version", "provider"),
            registry=registry,
            multiprocess_mode="livemax",
        )

    def passed(self, result: Literal["busy", "incompatible", "failed"]) -> None:
        """Count a request that was not compared."""
        self._requests.labels(result).inc()

    def compared(self, ours: np.ndarray, theirs: np.ndarray, seconds: float) -> None:
        """Count one comparison: the challenger's outputs [n, K], the champion's, and the challenger's seconds.

        It failed where the challenger finds no number: one NaN would spoil the sum for good.
        """
        if not np.isfinite(ours).all():
            self.passed("failed")
            return
        self._requests.labels("compared").inc()
        self._seconds.observe(seconds)
        for difference in np.abs(ours - theirs).max(axis=1).tolist():
            self._difference.observe(difference)
        if ours.shape[1] > 1:  # a predicted value has no label
            agreed = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
            self._examples.labels("agreed").inc(agreed)
            self._examples.labels("differed").inc(len(ours) - agreed)

    def challenged(self, result: Literal["loaded", "swapped", "refused"], now: Champion, before: Champion) -> None:
        """Count a new challenger, and say which one is compared: `now`, in place of `before`."""
        self._challengers.labels(result).inc()
        self._info.labels(before.name, before.version, before.predictor.provider).set(0)
        self._info.labels(now.name, now.version, now.predictor.provider).set(1)

    def refused(self) -> None:
        """Count a challenger that could not be loaded while there was no other."""
        self._challengers.labels("refused").inc()
