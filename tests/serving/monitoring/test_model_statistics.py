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
statistics.flush("1")
every = CollectorRegistry()
multiprocess.MultiProcessCollector(every)
metrics = list(every.collect())
for version in ("1", "2", "3"):
    print(*list(read(metrics, version).values())[:-1], read_batches(metrics, version))
"""


IDLE = """
from prometheus_client import CollectorRegistry, generate_latest
from serving.monitoring import model_statistics
statistics, every = model_statistics.ModelStatistics(CollectorRegistry()), CollectorRegistry()
model_statistics.LoadedVersions(every)
for version in map(str, range(1, 4)):
    for examples in (1, 2):
        statistics.run(version, examples, 0.5)
    statistics.flush(version)
model_statistics.IDLE_SECONDS = -1.0
statistics.flush("3")
statistics.run("2", 7, 0.5)
statistics.flush("3")
print(*[line for line in generate_latest(every).decode().splitlines() if line.startswith("tandem_model_batches_total")])
print(*[line for line in generate_latest(every).decode().splitlines() if line.startswith("tandem_model_runs_total")])
"""


def test_an_unloaded_version_has_no_counters_by_number_of_examples(tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-W", "error", "-c", IDLE]
    batches, runs = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )[:2]
    assert sorted(batches.split(" tandem_")) == [
        'model_batches_total{examples="2",version="3"} 1.0',
        'model_batches_total{examples="7",version="2"} 1.0',
        'tandem_model_batches_total{examples="1",version="3"} 1.0',
    ]
    assert runs.count("version=") == 3


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
