"""How many cores there really are for us: what the scheduler and the container allow, not what the host has."""

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available(quota: Path = QUOTA) -> int:
    """Cores this process may use: its CPU affinity, and the cgroup's quota (version 2) rounded down; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        microseconds, period = quota.read_text("ascii").split()
        return max(1, min(affinity, int(microseconds) // int(period)))
    except (OSError, ValueError):  # no cgroup, or the quota is "max"
        return affinity
