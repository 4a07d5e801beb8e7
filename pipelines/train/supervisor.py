"""Watches the workers of a training, and ends all of them together."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from models.errors import InputError
from pipelines.execution.process import Process

POLL = 0.05  # seconds
GRACE = 4.0  # seconds in which workers may end by themselves, and once more after a termination signal


@contextmanager
def ended_together() -> Iterator[list[Process]]:
    """The workers that are started in the block: all have ended after it. What the first one has logged is printed."""
    workers: list[Process] = []
    try:
        yield workers
    finally:
        end(workers)
    for line in workers[0].lines():
        print(line, file=sys.stderr)


def watch(workers: Sequence[Process], each_time: Callable[[], None] = lambda: None) -> None:
    """Wait until all workers have ended. Raises InputError at the first that fails. `each_time` is called meanwhile."""
    while True:
        statuses = [worker.status() for worker in workers]
        each_time()
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


def end(workers: Sequence[Process]) -> None:
    """End the workers that still run. After a failure of one, the others may close their files first.

    TensorFlow ignores a termination signal while it waits for a worker that is lost.
    """
    if any(worker.status() for worker in workers):
        _wait(workers)
    _each(workers, lambda worker: worker.terminate())
    _wait(workers)
    _each(workers, lambda worker: worker.kill())
    _wait(workers)


def _each(workers: Sequence[Process], action: Callable[[Process], None]) -> None:
    for worker in workers:
        if worker.status() is None:
            action(worker)


def _wait(workers: Sequence[Process]) -> None:
    end = time.monotonic() + GRACE
    while time.monotonic() < end and any(worker.status() is None for worker in workers):
        time.sleep(POLL)
