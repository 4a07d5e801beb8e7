"""Prometheus metrics of the challenger."""

from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.inference.champion import Champion

SECONDS_BUCKETS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
DIFFERENCE_BUCKETS = (1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)


class ShadowMetrics:
    """The challenger's metrics of one worker, added to `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "tandem_shadow_requests", "Requests selected for comparison by result", ("result",), registry=registry
        )
        self._examples = Counter(
            "tandem_shadow_examples", "Examples by agreement of the predicted labels", ("top1",), registry=registry
        )
        self._challengers = Counter("tandem_challengers", "New challengers by result", ("result",), registry=registry)
        self._difference = Histogram(
            "tandem_shadow_difference",
            "Largest difference between the outputs of an example",
            buckets=DIFFERENCE_BUCKETS,
            registry=registry,
        )
        self._seconds = Histogram(
            "tandem_shadow_run_seconds",
            "Duration of a run of the challenger, in a thread of low priority",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._info = Gauge(
            "tandem_challenger_info",
            "1 for the loaded challenger",
            ("name", "version", "provider"),
            registry=registry,
            multiprocess_mode="livemax",
        )

    def count_skipped(self, result: Literal["busy", "incompatible", "failed"]) -> None:
        """Count a request without a comparison."""
        self._requests.labels(result).inc()

    def record_comparison(self, challenger: np.ndarray, champion: np.ndarray, seconds: float | None) -> None:
        """Record one comparison: the outputs [n, K] of both models, and the challenger's seconds.

        Outputs of the challenger that are not finite count as a failure: one NaN would make the sum NaN for good.
        """
        if not np.isfinite(challenger).all():
            self.count_skipped("failed")
            return
        self._requests.labels("compared").inc()
        if seconds is not None:
            self._seconds.observe(seconds)
        for difference in np.abs(challenger - champion).max(axis=1).tolist():
            self._difference.observe(difference)
        if challenger.shape[1] > 1:  # a regression has no labels
            agreed = int((challenger.argmax(axis=1) == champion.argmax(axis=1)).sum())
            self._examples.labels("agreed").inc(agreed)
            self._examples.labels("differed").inc(len(challenger) - agreed)

    def challenger_changed(
        self, result: Literal["loaded", "swapped", "refused"], now: Champion, before: Champion
    ) -> None:
        """Count a new challenger and set the loaded one: `now`, in place of `before`."""
        self._challengers.labels(result).inc()
        self._info.labels(before.name, before.version, before.predictor.provider).set(0)
        self._info.labels(now.name, now.version, now.predictor.provider).set(1)

    def count_rejected(self) -> None:
        """Count a first challenger that could not be loaded."""
        self._challengers.labels("refused").inc()
