"""Processes that a command starts and watches."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

# Read by OpenMP, and so by torch, and by TensorFlow.
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
# The kernel kills the process when its parent ends for any reason (PR_SET_PDEATHSIG of prctl(2)); then the command
# replaces this program. A `preexec_fn` could do the same without another program, but not where the parent has threads.
END_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class Process(Protocol):
    """A process that was started."""

    def status(self) -> int | None:
        """The exit status, minus the number of the signal that ended it, or None while it runs."""

    def lines(self) -> list[str]:
        """What it has written to its log so far."""

    def terminate(self) -> None:
        """Send it a termination signal."""

    def kill(self) -> None:
        """Kill it."""


class LocalProcess:
    """A process of this machine, in a session of its own: Ctrl-C reaches only the process that has started it.

    Standard error is written to the file `log`, standard output to `output`, which may be the same file; None is the
    standard output of this process. `text` is written to standard input, which then stays open; without it there is
    none. On Linux the process is killed when this one ends.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        output: Path | None,
        text: str | None = None,
    ) -> None:
        self.log = log
        if sys.platform == "linux":
            command = [sys.executable, "-ISc", END_WITH_PARENT, str(os.getpid()), *command]
        with ExitStack() as files:
            errors = files.enter_context(log.open("wb"))
            separate = files.enter_context(output.open("wb")) if output not in (None, log) else None
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                stdout=errors if output == log else separate,
                stderr=errors,
                start_new_session=True,
            )
        if self.process.stdin is not None and text is not None:
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()

    def status(self) -> int | None:
        """As `Process`."""
        return self.process.poll()

    def lines(self) -> list[str]:
        """As `Process`."""
        return self.log.read_text("utf-8", "replace").splitlines()

    def terminate(self) -> None:
        """As `Process`."""
        self.process.terminate()

    def kill(self) -> None:
        """As `Process`."""
        self.process.kill()
