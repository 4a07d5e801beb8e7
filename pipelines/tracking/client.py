"""MLflow's client library with telemetry disabled; the other modules import `mlflow` from here.

It reads the setting once, when it is imported. To enable telemetry, set MLFLOW_DISABLE_TELEMETRY to false.
"""

import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow

__all__ = ["mlflow", "quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress MLflow's warnings about pip versions, examples and threads; exceptions are not affected."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
