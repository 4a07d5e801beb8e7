"""The engine for one machine: processes that share its cores."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import joblib

from pipelines.sweep.worker import Task

LOG = "worker-{}.log"
END_SECONDS = 60.0  # at most, for what is left to be delivered to MLflow
# Read by OpenMP, and so by torch, and by TensorFlow.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class LocalProcesses:
    """One process for each task, with its share of the cores; each writes to a log in the folder of the sweep.

    Those that are left at the end of the context are killed.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        threads = str(max(1, joblib.cpu_count() // len(tasks)))
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, threads)
        self.processes = {task.process: _start(task, environment) for task in tasks}
        self.logs = {task.process: _log(task) for task in tasks}

    def __enter__(self) -> "LocalProcesses":
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is None:
            self._wait()
        for process in self.processes.values():
            process.kill()
            process.communicate()

    def failed(self) -> set[str]:
        """The names of the processes that were killed or have ended with an error."""
        return {name for name, process in self.processes.items() if process.poll() not in (None, 0)}

    def alive(self) -> bool:
        """True if there is one left."""
        return any(process.poll() is None for process in self.processes.values())

    def reason(self, name: str) -> str:
        """The last line that a process has written, or the signal that has ended it."""
        status = self.processes[name].returncode
        lines = self.logs[name].read_text("utf-8", errors="replace").splitlines()
        return f"ended by signal {-status}" if status < 0 else (lines or [f"status {status}"])[-1]

    def _wait(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)


def _start(task: Task, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a process in a session of its own: Ctrl-C is for the sweep, which then ends its processes."""
    with _log(task).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.sweep.worker"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert process.stdin is not None
    process.stdin.write(task.to_json() + "\n")
    process.stdin.flush()
    return process


def _log(task: Task) -> Path:
    return Path(task.folder) / LOG.format(task.index)
