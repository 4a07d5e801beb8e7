"""Number of cores that the scheduler and the container allow this process to use, and of workers by default."""

import os
from pathlib import Path

from models.onnx.session import CPU

MOST_GPU_WORKERS = 2  # each has its own CUDA context and copy of the model; one prepares a batch while the other runs
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available(quota: Path = QUOTA) -> int:
    """The smaller of CPU affinity and cgroup (version 2) quota, rounded down; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        microseconds, period = quota.read_text("ascii").split()
        return max(1, min(affinity, int(microseconds) // int(period)))
    except (OSError, ValueError):  # no cgroup, or the quota is "max"
        return affinity


def workers(provider: str) -> int:
    """Worker processes by default, by execution provider: one per core, on a GPU at most MOST_GPU_WORKERS."""
    return available() if provider == CPU else min(available(), MOST_GPU_WORKERS)
