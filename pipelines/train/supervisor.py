"""Watches the workers of a training, and ends all of them together."""

import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from models.errors import InputError

POLL = 0.05  # seconds
GRACE = 4.0  # seconds in which workers may end by themselves, and once more after a termination signal


class Worker(Protocol):
    """A process that trains."""

    def status(self) -> int | None:
        """The exit status, minus the number of the signal that ended it, or None while it runs."""

    def lines(self) -> list[str]:
        """What it has written to standard error so far."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it, whatever it does."""


def watch(workers: Sequence[Worker]) -> None:
    """Wait until all workers have ended. Raises InputError at the first that fails."""
    while True:
        statuses = [worker.status() for worker in workers]
        failed = [(status, rank) for rank, status in enumerate(statuses) if status]
        if failed:
            status, rank = min(failed)  # one that a signal has ended is the cause of what the others report
            raise InputError(_reason(f"worker {rank} of {len(workers)}", status, workers[rank].lines()))
        if None not in statuses:
            return
        time.sleep(POLL)


def _reason(name: str, status: int, lines: list[str]) -> str:
    """One line; the traceback of an error of the program is written before it."""
    if status < 0:
        return f"{name} was ended by {_signal_name(-status)}, so all have ended; the next start resumes the training"
    if lines and lines[-1].startswith("error: "):
        return lines[-1].removeprefix("error: ")
    print(*lines, sep="\n", file=sys.stderr)
    return f"{name} failed with status {status}, so all have ended"


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def end(workers: Sequence[Worker]) -> None:
    """End what still runs. After a failure the others notice it, and may close what they have open.

    TensorFlow ignores a termination signal while it waits for a worker that is lost.
    """
    if any(worker.status() for worker in workers):
        _wait(workers)
    _each(workers, lambda worker: worker.terminate())
    _wait(workers)
    _each(workers, lambda worker: worker.kill())
    _wait(workers)


def _each(workers: Sequence[Worker], action: Callable[[Worker], None]) -> None:
    for worker in workers:
        if worker.status() is None:
            action(worker)


def _wait(workers: Sequence[Worker]) -> None:
    end = time.monotonic() + GRACE
    while time.monotonic() < end and any(worker.status() is None for worker in workers):
        time.sleep(POLL)
