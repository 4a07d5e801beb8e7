"""Number of cores that the scheduler and the container allow this process to use."""

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available(quota: Path = QUOTA) -> int:
    """The smaller of CPU affinity and cgroup (version 2) quota, rounded down; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        microseconds, period = quota.read_text("ascii").split()
        return max(1, min(affinity, int(microseconds) // int(period)))
    except (OSError, ValueError):  # no cgroup, or the quota is "max"
        return affinity
