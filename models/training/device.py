"""The device and precision that a model is trained with, as chosen by the framework."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from models.config import WITHOUT_LOSS_SCALE, Train
from models.errors import InputError
from models.gpu_driver import has_nvidia_driver

BFLOAT16_CAPABILITY = 8  # least CUDA compute capability (major) with bfloat16
FLOAT16_CAPABILITY = 7  # the one (major) of GPUs that are fast in float16 and have no bfloat16
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}  # of a processor with instructions for bfloat16
CPUINFO = Path("/proc/cpuinfo")
FLOAT16 = "train.precision = 'float16' is for GPUs of compute capability 7.x, which have no bfloat16;"
DOCTOR = "`python -m pipelines.doctor` checks the installation"

Precision = Literal["float32", "bfloat16", "float16"]
NOT_MEASURED: Mapping[Precision, float] = MappingProxyType({})


class Device(NamedTuple):
    """`kind` as in `train.device`, `name` for logs, `precision` of the matrix products.

    In float16 the loss is scaled, as small gradients would be 0. `step_seconds` are the durations of a training step
    that led to the precision, where they were measured. `reason` is the one for not using a GPU.
    """

    kind: Literal["cpu", "cuda"]
    name: str
    precision: Precision
    step_seconds: Mapping[Precision, float] = NOT_MEASURED
    reason: str = ""


def processor_flags(path: Path = CPUINFO) -> set[str]:
    """The flags of an x86 processor, as far as Linux reports them. Raises OSError on other systems."""
    lines = path.read_text("utf-8", "replace").splitlines()
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}


def has_bfloat16_instructions(path: Path = CPUINFO) -> bool:
    """Whether the processor computes in bfloat16; False where that is not known."""
    try:
        return not BFLOAT16_FLAGS.isdisjoint(processor_flags(path))
    except OSError:
        return False


def no_gpu(framework: str) -> str:
    """The reason why a framework that sees no GPU uses the CPU."""
    reason = f"{framework} sees no CUDA device"
    return f"{reason}, although there is an NVIDIA driver; {DOCTOR}" if has_nvidia_driver() else reason


def missing_code(name: str, capability: tuple[int, int], architectures: Sequence[str]) -> str:
    """The reason why a framework cannot use the GPU `name` with this compute capability; empty if it can.

    Of `architectures`, `sm_XY` is code for GPUs of major version X from minor version Y on, `compute_XY` for all newer
    ones (https://docs.nvidia.com/cuda/cuda-compiler-driver-nvcc/#gpu-compilation).
    """
    for kind, number in re.findall(r"(sm|compute)_([0-9]+)", " ".join(architectures)):
        built = divmod(int(number), 10)
        if built <= capability and (kind == "compute" or built[0] == capability[0]):
            return ""
    version = ".".join(map(str, capability))
    names = ", ".join(architectures)
    return f"{name} has compute capability {version}; this build has code for {names}: use a GPU of these, or the CPU"


def gpu_number(config: Train, local_rank: int, count: int) -> int:
    """The number of the GPU among `count`: that of the parameter, or one for each worker of this machine.

    Raises InputError where there is none of this number.
    """
    _, _, named = config.device.partition(":")
    number = int(named) if named else local_rank
    if number < count:
        return number
    if named:
        allowed = ", ".join(f"cuda:{each}" for each in range(count))
        raise InputError(
            f"{config.device_parameter} = '{config.device}': no such GPU; allowed here: {allowed}, cuda, auto, cpu"
        )
    raise InputError(
        f"train.workers = {config.workers}: one GPU each, of which there are {count} here; "
        f"allowed: at most {count} on this machine, or {config.device_parameter} = 'cpu'"
    )


def cpu(name: str, reason: str, config: Train) -> Device:
    """The CPU; its name includes the `reason` for not using a GPU if one is wanted and there is a driver for it.

    The precision `auto` is float32, unless `models.training.precision` measures that bfloat16 is faster. Raises
    InputError for float16.
    """
    if config.precision == "float16":
        raise InputError(f"{FLOAT16} this training uses the CPU; allowed here: auto, float32, bfloat16")
    name = f"{name} ({reason})" if config.device != "cpu" and has_nvidia_driver() else name
    return Device("cpu", name, _precision(config, "float32"), reason=reason)


def gpu(name: str, capability: int, config: Train) -> Device:
    """A CUDA device by its compute capability (major). Raises InputError if it lacks the requested precision."""
    available: tuple[Precision, ...] = ("float32",)
    if capability >= BFLOAT16_CAPABILITY:
        available = ("bfloat16", "float32")
    elif capability == FLOAT16_CAPABILITY and config.optimizer not in WITHOUT_LOSS_SCALE:
        available = ("float16", "float32")
    if config.precision not in ("auto", *available):
        reason = (
            FLOAT16
            if config.precision == "float16"
            else "train.precision = 'bfloat16' is for GPUs of compute capability 8.0 and newer;"
        )
        raise InputError(
            f"{reason} {name} has compute capability {capability}.x; allowed here: auto, {', '.join(available)}"
        )
    return Device("cuda", name, _precision(config, available[0]))


def _precision(config: Train, automatic: Precision) -> Precision:
    return automatic if config.precision == "auto" else config.precision
