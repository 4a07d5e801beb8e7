"""What a process uses together with all that it has started."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.1  # seconds between two samples


@dataclass(frozen=True)
class Usage:
    """Wall and CPU time of a command in seconds; peak resident memory of all its processes in MB (10^6 bytes)."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that it has started, without those that have ended."""
    try:
        first = psutil.Process(pid)
        every = [first, *first.children(recursive=True)]
        return [process for process in every if process.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def resident_bytes(processes: Sequence[psutil.Process]) -> int:
    """Resident memory of all, what they share counted once (the sum of proportional sizes, where known)."""
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            full = process.memory_full_info()
            total += getattr(full, "pss", full.uss)
    return total


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> Usage:
    """Run a command in a folder, its output in `log`. Raises RuntimeError with the output if it fails."""
    begun = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    sampler = _Sampler(process.pid)
    sampler.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    sampler.ended.set()
    sampler.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: status {process.returncode}: {log.read_text('utf-8', 'replace')}")
    return Usage(seconds, usage.ru_utime + usage.ru_stime, sampler.peak / 1e6)


class _Sampler(threading.Thread):
    """Notes the most resident memory of a process and all that it has started."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="memory sampler", daemon=True)
        self.pid = pid
        self.peak = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """Sample until `ended`."""
        while not self.ended.wait(INTERVAL):
            self.peak = max(self.peak, resident_bytes(tree(self.pid)))
