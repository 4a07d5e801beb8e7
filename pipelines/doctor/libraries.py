"""NVIDIA's driver, and the CUDA libraries that the frameworks load."""

import os
import sys
from ctypes.util import find_library
from pathlib import Path

from models.gpu_driver import has_nvidia_driver
from pipelines.config.params import Params
from pipelines.doctor.finding import Finding

# By the name that the loader looks for. PyTorch brings its own; the others come with the extra `gpu`.
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


def look(_settings: Params) -> list[Finding]:
    """One line for the driver, and where there could be one, a line for each generation of libraries."""
    driver = has_nvidia_driver()
    found = "loads" if driver else "none, so there is no GPU for us: everything runs on the CPU"
    first = Finding("ok", "NVIDIA driver", found)
    if sys.platform != "linux":
        return [first]
    return [first, *(libraries(name, names, needed=driver) for name, names in CUDA.items())]


def libraries(name: str, names: tuple[str, ...], *, needed: bool) -> Finding:
    """Which of the libraries `names` are there; missing ones matter only beside a driver."""
    missing = [library for library in names if not _is_there(library)]
    if not missing:
        return Finding("ok", name, f"{', '.join(names)} found")
    found = f"missing {', '.join(missing)}"
    if not needed:
        return Finding("ok", name, f"{found}; not needed without a driver")
    return Finding("warning", name, found, "install them with `uv sync --extra gpu`")


def _is_there(library: str) -> bool:
    if any((folder / library).exists() for folder in _folders()):
        return True
    return find_library(library.removeprefix("lib").partition(".")[0]) == library


def _folders() -> list[Path]:
    """Those of NVIDIA's Python packages, from which the frameworks load, and those of the environment."""
    packages = [folder for place in sys.path for folder in Path(place or ".").glob("nvidia/*/lib")]
    return packages + [Path(place) for place in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if place]
