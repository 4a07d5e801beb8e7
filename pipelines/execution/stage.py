"""Entry point of every command: errors of the user are printed as one line, and the exit status is 1."""

import argparse
import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from models.errors import InputError, one_line
from pipelines.execution import dvc_process


def run(main: Callable[[], None], description: str | None = None) -> None:
    """Call `main`; print an InputError or OSError (a full disk, a missing file) as one line and exit 1.

    A termination signal ends the stage as Ctrl-C does: what is open is closed, the status is 130. With a `description`,
    the command takes no arguments: `--help` prints it, anything else on the command line ends it with status 2.
    """
    if description is not None:
        argparse.ArgumentParser(f"python -m {_command()}", description=description).parse_args()
    # All are read when the framework is imported, which no stage does before this.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # torch's threads wait for each other by spinning, 300,000 turns by default, which takes the time from other
    # processes: measured beside one, 30,000 turns train half as fast as 1,000. But on a virtual machine whose host is
    # busy, threads that sleep wake late: there 1,000 take up to twice the time. This value is between them.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    signal.signal(signal.SIGTERM, _interrupt)
    atexit.register(gc.freeze)  # what remains is not searched for garbage as the process ends
    try:
        if sys.platform == "linux":
            dvc_process.watch()
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {place}{error.strerror or error}")
    except (KeyboardInterrupt, Exception) as error:
        if not was_interrupted(error):
            raise
        reason = "" if isinstance(error, KeyboardInterrupt) else f" ({type(error).__name__}: {one_line(error)})"
        print(f"interrupted{reason}", file=sys.stderr)
        sys.exit(130)


def was_interrupted(error: BaseException) -> bool:
    """True for a KeyboardInterrupt, and for an error that one has caused: it is raised within the code of any library.

    Python's own `threading.Condition` then releases a lock that it does not hold, which is a RuntimeError.
    """
    cause: BaseException | None = error
    while cause and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause is not None


def _command() -> str:
    """The module that was started with `python -m`."""
    return str(sys.modules["__main__"].__dict__["__spec__"].name).removesuffix(".__main__")


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
