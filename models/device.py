"""Where a model is trained and in which precision: what was chosen, not what was asked for."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from models.gpu_driver import has_nvidia_driver

DOCTOR = "`python -m pipelines.doctor` checks the installation"


class Device(NamedTuple):
    """`kind` as parameters name it, `name` for people, `precision` of the matrix products."""

    kind: Literal["cpu", "cuda"]
    name: str
    precision: Literal["float32", "bfloat16"]


def no_gpu(framework: str) -> str:
    """The reason why a framework that sees no GPU computes on the CPU."""
    reason = f"{framework} sees no CUDA device"
    return f"{reason}, although there is an NVIDIA driver; {DOCTOR}" if has_nvidia_driver() else reason


def missing_code(name: str, capability: tuple[int, int], architectures: Sequence[str]) -> str:
    """The reason why a framework has no code for the GPU `name` with this compute capability; empty if it has.

    Of `architectures`, `sm_XY` is code for GPUs of major version X from minor version Y on, `compute_XY` for all newer
    ones (https://docs.nvidia.com/cuda/cuda-compiler-driver-nvcc/#gpu-compilation).
    """
    for kind, number in re.findall(r"(sm|compute)_([0-9]+)", " ".join(architectures)):
        built = divmod(int(number), 10)
        if built <= capability and (kind == "compute" or built[0] == capability[0]):
            return ""
    version = ".".join(map(str, capability))
    return f"{name} has compute capability {version}; this build has code for {', '.join(architectures)}"


def cpu_name(name: str, reason: str) -> str:
    """`name` with the reason why the GPU is not used, where there is a driver for one."""
    return f"{name} ({reason})" if reason and has_nvidia_driver() else name
