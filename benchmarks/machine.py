"""The machine that the figures were measured on."""

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    "bentoml", "fastapi", "httptools", "litserve", "numpy", "onnxruntime", "onnxruntime-gpu", "orjson", "pillow",
    "starlette", "uvicorn", "uvloop",
)  # fmt: skip


def pin(cores: int) -> int:
    """Restrict this process and its children to so many cores; the number of cores it may use."""
    if not hasattr(os, "sched_setaffinity"):
        return min(cores, os.cpu_count() or 1)
    mine = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, mine)
    return len(mine)


def describe(packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Processor, memory, system and versions; no name of the machine."""
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "packages": {name: found for name in packages if (found := _version(name))},
    }


def sentence(described: Mapping[str, Any]) -> str:
    """A description as text, with the cores that were used."""
    versions = ", ".join(f"{name} {number}" for name, number in described["packages"].items())
    load = described["load_average"][0]
    return f"{described['processor']}, {described['pinned']} cores, load {load} at the start; {versions}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name, as far as Linux reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
