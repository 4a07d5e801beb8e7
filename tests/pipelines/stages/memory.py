"""Peak anonymous memory of a stage, which the system cannot reclaim, unlike pages of mapped files."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.pipelines.workspace import REPOSITORY

INTERVAL = 0.02  # seconds between two samples
DONE = "done"  # file in a workspace in which the stage has run
PROGRAM = f"""
import os, runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
for folder in os.environ["FOLDERS"].split(os.pathsep):
    os.chdir(folder)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    open({DONE!r}, "w").close()
"""


def peaks_mebibytes(folders: Sequence[Path], stage: str, *arguments: str) -> list[float]:
    """The largest anonymous memory of `python -m pipelines.<stage>` in each workspace, in MiB.

    One process runs the stage in all of them, in this order, because its imports take longer than the stage; it must
    succeed. Pages of memory-mapped files are not counted (proc(5), `RssAnon`): the system drops them when it needs
    memory.
    """
    variables = {"PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(folders[0] / "cache")}
    environment = os.environ | variables | {"FOLDERS": os.pathsep.join(map(str, folders))}
    command = [sys.executable, "-c", PROGRAM, f"pipelines.{stage}", *arguments]
    peaks = dict.fromkeys(folders, 0.0)
    for folder in folders:
        (folder / DONE).unlink(missing_ok=True)
    with (folders[0] / "output.txt").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            current = next((folder for folder in folders if not (folder / DONE).exists()), folders[-1])
            peaks[current] = max(peaks[current], _anonymous(process.pid))
            time.sleep(INTERVAL)
    assert process.returncode == 0, (folders[0] / "output.txt").read_text()
    return list(peaks.values())


def _anonymous(pid: int) -> float:
    """Anonymous memory in MiB; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")), 0.0)
