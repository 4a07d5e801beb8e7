"""What the processor can do, and how many of its cores are ours."""

import os
import platform
from pathlib import Path

import joblib

from pipelines.config.params import Params
from pipelines.doctor.finding import Finding

CPUINFO = Path("/proc/cpuinfo")
# As Linux names them: wide vectors, then 8-bit and 16-bit arithmetic, then matrix tiles.
FEATURES = {
    "AVX2": ("avx2",),
    "AVX512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "BF16": ("avx512_bf16", "amx_bf16"),
    "AMX": ("amx_tile",),
}


def look(_settings: Params) -> list[Finding]:
    """One line for the instructions, one for the cores."""
    return [features(), _cores()]


def features(path: Path = CPUINFO) -> Finding:
    """Which of FEATURES the processor has; only Linux says so in a file."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return Finding("ok", "processor", f"{platform.machine()}; its instructions are not known on this system")
    flags = {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
    if not flags:
        return Finding("ok", "processor", f"{platform.machine()}; none of {', '.join(FEATURES)}, which are x86-64's")
    has = {name: not flags.isdisjoint(names) for name, names in FEATURES.items()}
    found = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in has.items())
    slow = "" if has["AVX2"] else "everything works, but slowly"
    return Finding("warning" if slow else "ok", "processor", found, slow)


def _cores() -> Finding:
    """joblib asks the CPU affinity and the container's quota (cgroups 1 and 2) too."""
    return Finding("ok", "cores", f"{joblib.cpu_count()} for us, of {os.cpu_count()} that the machine shows")
