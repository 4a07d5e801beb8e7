"""Prometheus metrics of the canary release."""

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from serving.canary.window import Reason

State = Literal["waiting", "incompatible", "active", "rolled_back"]


class CanaryMetrics:
    """The metrics of one worker, added to `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "tandem_canary_requests", "Requests for the challenger by result", ("result",), registry=registry
        )
        self._rollbacks = Counter("tandem_canary_rollbacks", "Rollbacks by reason", ("reason",), registry=registry)
        about = "1 for the state of the canary release; for each that a worker has"
        self._state = Gauge("tandem_canary_state", about, ("state",), registry=registry, multiprocess_mode="livemax")

    def count_request(self, result: Literal["answered", "failed", "timeout"]) -> None:
        """Count a request that the challenger received; the champion answers those that it does not."""
        self._requests.labels(result).inc()

    def count_rollback(self, reason: Reason) -> None:
        """Count a rollback by this worker."""
        self._rollbacks.labels(reason).inc()

    def set_state(self, state: State) -> None:
        """Set the state of this worker."""
        for each in get_args(State):
            self._state.labels(each).set(each == state)
