"""NVIDIA driver, and CUDA libraries that the frameworks load."""

import ctypes
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from ctypes.util import find_library
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from models.gpu_driver import has_nvidia_driver
from pipelines.doctor.check_result import CheckResult

# torch, TensorFlow and ONNX Runtime are all built for CUDA 12; its first driver is 525
# (https://docs.nvidia.com/deploy/cuda-compatibility/).
CUDA, DRIVER = 12, 525
RUNTIMES = ("torch", "tensorflow", "onnxruntime-gpu")
EXTRAS = ("", "and-cuda", "cuda", "cudnn")  # of these packages, with NVIDIA's packages
LIBRARIES = (
    "libcudart.so.12",
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcufft.so.11",
    "libcurand.so.10",
    "libcudnn.so.9",
    "libnccl.so.2",
)
# Each compares the version of one part of cuDNN with that of the whole: 0 if they are the same.
CUDNN_CHECKS = ("cudnnGraphVersionCheck", "cudnnOpsVersionCheck", "cudnnCnnVersionCheck", "cudnnAdvVersionCheck")
NVIDIA_PACKAGE = re.compile(r"nvidia-(?P<library>[a-z-]+?)(?:-cu(?P<cuda>\d+))?")
REINSTALL = "delete the environment (`.venv`) and run `uv sync --extra gpu`"


def check() -> list[CheckResult]:
    """One result for the driver and, on Linux, one for the installed packages, the libraries, cuDNN and NCCL."""
    has_driver = has_nvidia_driver()
    driver = check_driver(_driver_cuda() if has_driver else None)
    if sys.platform != "linux":
        return [driver]
    versions = {name.lower(): each.version for each in metadata.distributions() if (name := each.metadata["Name"])}
    requirements = {name: metadata.requires(name) or [] for name in RUNTIMES if name in versions}
    return [
        driver,
        check_packages(versions),
        check_requirements(versions, requirements),
        check_libraries(LIBRARIES, required=has_driver),
        *_check_versions(),
    ]


def check_driver(cuda: int | None) -> CheckResult:
    """`cuda` is the newest version that the driver supports as 1000 x major + 10 x minor, None without a driver."""
    if cuda is None:
        return CheckResult("ok", "NVIDIA driver", "not installed; the CPU is used")
    detail = f"supports CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    if cuda >= CUDA * 1000:
        return CheckResult("ok", "NVIDIA driver", detail)
    advice = f"the frameworks need CUDA {CUDA}: install driver {DRIVER} or newer; until then the CPU is used"
    return CheckResult("warning", "NVIDIA driver", detail, advice)


def check_packages(names: Iterable[str]) -> CheckResult:
    """A problem if packages of several CUDA versions are among those installed: they overwrite each other's files."""
    versions: dict[str, set[str]] = defaultdict(set)
    for name in names:
        if (match := NVIDIA_PACKAGE.fullmatch(name)) and name != "nvidia-ml-py":
            versions[match["cuda"] or "13 or newer"].add(name)
    if len(versions) > 1:
        detail = "; ".join(f"CUDA {cuda}: {', '.join(sorted(each))}" for cuda, each in sorted(versions.items()))
        return CheckResult("problem", "CUDA packages", f"of several versions: {detail}", REINSTALL)
    return CheckResult("ok", "CUDA packages", f"of CUDA {next(iter(versions))}" if versions else "none installed")


def check_requirements(versions: Mapping[str, str], requirements: Mapping[str, Iterable[str]]) -> CheckResult:
    """A problem if one of the NVIDIA packages in `versions` is not of a version that the `requirements` allow.

    `requirements` are those of packages, by name. Those of extras count: a package was built with them.
    """
    conflicts = [
        f"{each.name} {versions[each.name]}, {package} requires {each.specifier}"
        for package, lines in requirements.items()
        for each in map(Requirement, lines)
        if NVIDIA_PACKAGE.fullmatch(each.name) and each.name in versions and versions[each.name] not in each.specifier
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in EXTRAS)
    ]
    if conflicts:
        return CheckResult("problem", "CUDA requirements", "; ".join(conflicts), REINSTALL)
    return CheckResult("ok", "CUDA requirements", f"those of {', '.join(requirements)} agree with what is installed")


def check_libraries(names: tuple[str, ...], *, required: bool) -> CheckResult:
    """A warning if one of the libraries `names` is missing and they are `required`."""
    subject = f"CUDA {CUDA} libraries"
    missing = [name for name in names if not is_installed(name)]
    if not missing:
        return CheckResult("ok", subject, f"{', '.join(names)} found")
    detail = f"missing {', '.join(missing)}"
    if not required:
        return CheckResult("ok", subject, f"{detail}; not required without a driver")
    return CheckResult("warning", subject, detail, "install them with `uv sync --extra gpu`")


def check_version(subject: str, package: str, loaded: str, *, consistent: bool = True) -> CheckResult:
    """A problem if the loaded library is not of the installed package's version, or its parts are not `consistent`."""
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError:
        return CheckResult("problem", subject, f"{loaded} loaded, which is not from {package}", REINSTALL)
    detail = f"{loaded} loaded, {package} {installed} installed"
    if consistent and (installed == loaded or installed.startswith(f"{loaded}.")):
        return CheckResult("ok", subject, detail)
    parts = "" if consistent else "; its libraries are of several versions"
    return CheckResult("problem", subject, f"{detail}{parts}", REINSTALL)


def _check_versions() -> list[CheckResult]:
    """The versions that cuDNN and NCCL report themselves, if their packages are installed."""
    results = []
    if cudnn := _load("cudnn", "libcudnn.so.9"):
        cudnn.cudnnGetVersion.restype = ctypes.c_size_t
        consistent = all(getattr(cudnn, name)() == 0 for name in CUDNN_CHECKS)
        loaded = _dotted(cudnn.cudnnGetVersion())
        results.append(check_version("cuDNN", f"nvidia-cudnn-cu{CUDA}", loaded, consistent=consistent))
    if nccl := _load("nccl", "libnccl.so.2"):
        version = ctypes.c_int()
        nccl.ncclGetVersion(ctypes.byref(version))
        results.append(check_version("NCCL", f"nvidia-nccl-cu{CUDA}", _dotted(version.value)))
    return results


def _dotted(number: int) -> str:
    """91002 -> 9.10.2."""
    return f"{number // 10_000}.{number % 10_000 // 100}.{number % 100}"


def _load(package: str, name: str) -> ctypes.CDLL | None:
    """The library of one of NVIDIA's Python packages, None if it is not installed."""
    file = next((folder / name for folder in _folders() if folder.parent.name == package), None)
    return ctypes.CDLL(str(file)) if file and file.exists() else None


def _driver_cuda() -> int:
    version = ctypes.c_int()
    ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    return version.value


def is_installed(library: str) -> bool:
    """Whether a library such as `libcudnn.so.9` is in NVIDIA's Python packages or where the linker looks for it."""
    if any((folder / library).exists() for folder in _folders()):
        return True
    return find_library(library.removeprefix("lib").partition(".")[0]) == library


def _folders() -> list[Path]:
    """Folders of NVIDIA's Python packages, and those in LD_LIBRARY_PATH."""
    packages = [folder for entry in sys.path for folder in Path(entry or ".").glob("nvidia/*/lib")]
    return packages + [Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if entry]
