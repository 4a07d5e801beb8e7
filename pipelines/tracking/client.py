"""MLflow's client library with telemetry disabled; the other modules import `mlflow` from here.

It reads its settings once, when it is imported. To enable telemetry, set MLFLOW_DISABLE_TELEMETRY to false. A request
to a server that does not respond ends within a minute; by MLflow's own defaults it takes up to a quarter of an hour.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")  # seconds without data
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import mlflow
import mlflow.system_metrics.system_metrics_monitor

# Warnings of each request that is repeated, of pip versions and of examples; errors raise exceptions.
for name in ("mlflow", "urllib3"):
    logging.getLogger(name).setLevel(logging.ERROR)

__all__ = ["mlflow", "quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings of MLflow and of libraries that it calls; only for the main thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
