"""Utilisation of processor, memory, disk, network and GPU during a run."""

import threading
from collections.abc import Callable, Mapping

from models.errors import one_line
from pipelines.tracking.client import mlflow

INTERVAL = 1.0  # seconds
FIRST_INTERVAL = 0.1  # so that short runs have metrics, too
Log = Callable[[Mapping[str, float], int], None]


class SystemMetricsThread(threading.Thread):
    """Calls `log` with the metrics of each interval and its number."""

    def __init__(self, run_id: str, log: Log) -> None:
        super().__init__(name="system metrics", daemon=True)
        # Its own thread would end in an outage, as it asks the store for the state of the run.
        self.monitors = mlflow.system_metrics.system_metrics_monitor.SystemMetricsMonitor(run_id).monitors
        self.log = log
        self.stopped = threading.Event()

    def run(self) -> None:
        """Sample until `close`, or an error such as a full disk."""
        step = 0
        while not self.stopped.is_set():
            for monitor in self.monitors:
                monitor.collect_metrics()
            if self.stopped.wait(INTERVAL if step else FIRST_INTERVAL):
                return
            try:
                self.log(self._aggregated(), step)
            except OSError as error:
                print(f"no more system metrics are logged: {one_line(error)}", flush=True)
                return
            step += 1

    def close(self) -> None:
        """End the thread."""
        self.stopped.set()
        self.join()

    def _aggregated(self) -> dict[str, float]:
        values = {}
        for monitor in self.monitors:
            values.update({f"system/{name}": value for name, value in monitor.aggregate_metrics().items()})
            monitor.clear_metrics()
        return values
