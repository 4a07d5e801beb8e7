"""How much memory a stage takes that it cannot give back: its own, not that of mapped files."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.pipelines.workspace import REPOSITORY

EVERY = 0.02  # seconds


def peak_mebibytes(folder: Path, *command: str) -> float:
    """The largest anonymous memory of `python -m pipelines.<command>` in `folder`, which must succeed.

    Pages of memory-mapped files are not counted (proc(5), `RssAnon`): the system drops them when it needs room.
    """
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(folder / "cache")}
    arguments = [sys.executable, "-m", f"pipelines.{command[0]}", *command[1:]]
    peak = 0.0
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(arguments, cwd=folder, env=environment, stdout=said, stderr=said)
        while process.poll() is None:
            peak = max(peak, _anonymous(process.pid))
            time.sleep(EVERY)
    assert process.returncode == 0, (folder / "said.txt").read_text()
    return peak


def _anonymous(pid: int) -> float:
    """In MiB; 0 of a process that has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")), 0.0)
