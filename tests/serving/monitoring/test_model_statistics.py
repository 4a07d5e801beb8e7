"""Statistics by version of the model, of several workers."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
from prometheus_client import CollectorRegistry, multiprocess
from serving.monitoring.model_statistics import ModelStatistics, read, read_batches
statistics = ModelStatistics(CollectorRegistry())
statistics.success("1", 3, 0.5, 0.25)
statistics.success("1", 2, 0.5, 0.25)
statistics.success("2", 1, 0.0, 0.0)
statistics.run("1", 5, 0.25)
statistics.run("1", 5, 0.5)
statistics.run("1", 2, 1.0)
statistics.failure("2", 1.0)
statistics.flush()
every = CollectorRegistry()
multiprocess.MultiProcessCollector(every)
metrics = list(every.collect())
for version in ("1", "2", "3"):
    print(*list(read(metrics, version).values())[:-1], read_batches(metrics, version))
"""


def test_workers_are_added_up_by_version(tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", PROGRAM]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(2)
    )
    # requests, examples, seconds in the queue and in the model, failures, seconds until failure, runs
    # and by the number of examples: runs, seconds
    assert first == [
        "2.0 5.0 1.0 0.5 0.0 0.0 3.0 {2: (1, 1.0), 5: (2, 0.75)}",
        "1.0 1.0 0.0 0.0 1.0 1.0 0.0 {}",
        "0.0 0.0 0.0 0.0 0.0 0.0 0.0 {}",
    ]
    assert second == [
        "4.0 10.0 2.0 1.0 0.0 0.0 6.0 {2: (2, 2.0), 5: (4, 1.5)}",
        "2.0 2.0 0.0 0.0 2.0 2.0 0.0 {}",
        "0.0 0.0 0.0 0.0 0.0 0.0 0.0 {}",
    ]
