"""What all tests share: the environment of a stage, and both frameworks in one process."""

import importlib.util
import os
import shutil
import subprocess

import pytest

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# A store that the user works with is not for tests to write to.
os.environ.pop("MLFLOW_TRACKING_URI", None)

# TensorFlow imported before triton aborts the process as soon as torch touches triton.
if importlib.util.find_spec("triton"):
    import triton  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` run where the driver lists a GPU."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


def _has_gpu() -> bool:
    driver = shutil.which("nvidia-smi")
    return bool(driver and subprocess.run([driver, "-L"], capture_output=True, text=True, check=False).stdout.strip())
