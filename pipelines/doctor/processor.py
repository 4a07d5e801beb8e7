"""Instruction sets of the processor, and number of available cores."""

import os
import platform
from pathlib import Path

import joblib

from models.training.device import CPUINFO, processor_flags
from pipelines.doctor.check_result import CheckResult

# Flags in /proc/cpuinfo: vectors, 8-bit and 16-bit arithmetic, matrix tiles.
INSTRUCTION_SETS = {
    "AVX2": ("avx2",),
    "AVX512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "BF16": ("avx512_bf16", "amx_bf16"),
    "AMX": ("amx_tile",),
}


def check() -> list[CheckResult]:
    """One result for the instruction sets, one for the cores."""
    return [instruction_sets(), _cores()]


def instruction_sets(path: Path = CPUINFO) -> CheckResult:
    """The supported INSTRUCTION_SETS, as far as Linux reports them in `path`."""
    try:
        flags = processor_flags(path)
    except OSError:
        return CheckResult("ok", "processor", f"{platform.machine()}; instruction sets are not reported on this system")
    if not flags:
        return CheckResult("ok", "processor", f"{platform.machine()}, without the instruction sets of x86-64")
    supported = {name: not flags.isdisjoint(names) for name, names in INSTRUCTION_SETS.items()}
    detail = ", ".join(f"{name} {'yes' if value else 'no'}" for name, value in supported.items())
    if not supported["AVX2"]:
        return CheckResult("warning", "processor", detail, "all stages work, but slowly")
    return CheckResult("ok", "processor", detail)


def _cores() -> CheckResult:
    """Available cores, by CPU affinity and container quota (cgroups 1 and 2)."""
    return CheckResult("ok", "cores", f"{joblib.cpu_count()} available of {os.cpu_count()}")
