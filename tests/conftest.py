"""What all tests share: the environment of a stage, and both frameworks in one process."""

import importlib.util
import os
import shutil
import subprocess
from typing import Any

import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Two processes share the cores; models and data are small.
for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# A store that the user works with is not for tests to write to.
os.environ.pop("MLFLOW_TRACKING_URI", None)

# TensorFlow imported before triton aborts the process as soon as torch touches triton.
if importlib.util.find_spec("triton"):
    import triton  # noqa: F401


# The files that take longest. They start first, so that both processes end at about the same time.
SLOWEST = ("test_pipeline.py", "test_memory.py", "test_table_pipeline.py", "test_registry_sync.py", "test_faults.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; tests marked `gpu` run where the driver lists a GPU."""
    items.sort(key=lambda item: SLOWEST.index(item.path.name) if item.path.name in SLOWEST else len(SLOWEST))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Pass the observed differences on, from each process of pytest-xdist."""
    from tests.models.equality import SEEN

    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["differences"] = SEEN


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Receive the differences of one process."""
    from tests.models.equality import SEEN

    for row, difference in getattr(node, "workeroutput", {}).get("differences", {}).items():
        SEEN[row] = max(difference, SEEN.get(row, 0.0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the differences that docs/equivalence.md documents, as observed in this run."""
    from tests.models.equality import SEEN

    for row, difference in SEEN.items():
        terminalreporter.write_line(f"equal: {row}: {difference:.1e}")


def _has_gpu() -> bool:
    driver = shutil.which("nvidia-smi")
    return bool(driver and subprocess.run([driver, "-L"], capture_output=True, text=True, check=False).stdout.strip())
