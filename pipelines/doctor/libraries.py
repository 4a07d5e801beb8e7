"""NVIDIA driver, and CUDA libraries that the frameworks load."""

import os
import sys
from ctypes.util import find_library
from pathlib import Path

from models.gpu_driver import has_nvidia_driver
from pipelines.doctor.check_result import CheckResult

# Names that the dynamic loader searches. PyTorch depends on its own; the others are in the extra `gpu`.
CUDA = {
    "CUDA 13 (torch, onnxruntime)": (
        "libcudart.so.13",
        "libcublas.so.13",
        "libcublasLt.so.13",
        "libcufft.so.12",
        "libcudnn.so.9",
    ),
    "CUDA 12 (tensorflow)": (
        "libcudart.so.12",
        "libcublas.so.12",
        "libcublasLt.so.12",
        "libcufft.so.11",
        "libcudnn.so.9",
    ),
}


def check() -> list[CheckResult]:
    """One result for the driver and, on Linux, one per set of CUDA libraries."""
    has_driver = has_nvidia_driver()
    driver = CheckResult("ok", "NVIDIA driver", "installed" if has_driver else "not installed; the CPU is used")
    if sys.platform != "linux":
        return [driver]
    return [driver, *(libraries(name, names, required=has_driver) for name, names in CUDA.items())]


def libraries(name: str, names: tuple[str, ...], *, required: bool) -> CheckResult:
    """A warning if one of the libraries `names` is missing and they are `required`."""
    missing = [library for library in names if not _is_installed(library)]
    if not missing:
        return CheckResult("ok", name, f"{', '.join(names)} found")
    detail = f"missing {', '.join(missing)}"
    if not required:
        return CheckResult("ok", name, f"{detail}; not required without a driver")
    return CheckResult("warning", name, detail, "install them with `uv sync --extra gpu`")


def _is_installed(library: str) -> bool:
    if any((folder / library).exists() for folder in _folders()):
        return True
    return find_library(library.removeprefix("lib").partition(".")[0]) == library


def _folders() -> list[Path]:
    """Folders of NVIDIA's Python packages, and those in LD_LIBRARY_PATH."""
    packages = [folder for entry in sys.path for folder in Path(entry or ".").glob("nvidia/*/lib")]
    return packages + [Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if entry]
