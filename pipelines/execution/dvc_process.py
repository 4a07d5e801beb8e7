"""End of a stage whose DVC was killed: otherwise the next `dvc repro` would run it a second time, beside the first."""

import os
import signal
import time
from contextlib import suppress
from threading import Thread

import psutil

from models.errors import InputError

VARIABLE = "DVC_STAGE"  # set by DVC for the commands of stages
POLL_SECONDS = 0.2


def watch() -> None:
    """Kill this process once DVC has ended, if that has started it.

    Raises InputError if it has ended already. Processes of DVC are in its session, the one that inherits orphans is
    usually not.
    """
    if not os.environ.pop(VARIABLE, None):
        return
    try:
        child = _child_of_dvc()
        dvc = child.ppid()
        _require_own_session(dvc)
    except (ProcessLookupError, psutil.NoSuchProcess) as error:
        raise _killed() from error
    Thread(target=_kill_after, args=(dvc, child), daemon=True).start()


def _child_of_dvc() -> psutil.Process:
    """The shell between DVC and this process, which has the variable, too; this process if the shell was replaced."""
    _require_own_session(os.getppid())
    parent = psutil.Process(os.getppid())
    return parent if VARIABLE in parent.environ() else psutil.Process()


def _require_own_session(pid: int) -> None:
    if os.getsid(pid) != os.getsid(0):
        raise _killed()


def _killed() -> InputError:
    return InputError("the `dvc` command that started this stage was killed")


def _kill_after(dvc: int, child: psutil.Process) -> None:
    """Not if the shell has ended before DVC, as after Ctrl-C: this process then ends by itself."""
    with suppress(psutil.NoSuchProcess):
        while child.ppid() == dvc:
            time.sleep(POLL_SECONDS)
        if child.pid in (os.getpid(), os.getppid()):
            os.kill(os.getpid(), signal.SIGKILL)
