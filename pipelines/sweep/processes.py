"""The processes of a sweep: on this machine, or placed by Ray."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import joblib

from models import gpu_driver
from pipelines.config.params import Params
from pipelines.execution import ray_cluster
from pipelines.execution.process import THREADS, LocalProcess, Process
from pipelines.sweep.worker import Task

COMMAND = ["-m", "pipelines.sweep.worker"]
LOG = "worker-{}.log"
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
END_SECONDS = 60.0  # at most, for what is left to be delivered to MLflow
POLL_SECONDS = 0.05


class Processes:
    """The processes of the tasks, by name."""

    def __init__(self, processes: Mapping[str, Process]) -> None:
        self.processes = processes

    def failed(self) -> set[str]:
        """The names of the processes that were killed or have ended with an error."""
        return {name for name, process in self.processes.items() if process.status() not in (None, 0)}

    def alive(self) -> bool:
        """True if there is one left."""
        return any(process.status() is None for process in self.processes.values())

    def reason(self, name: str) -> str:
        """The last line that a process has written, or the signal that has ended it."""
        status = self.processes[name].status() or 0
        lines = self.processes[name].lines()
        return f"ended by signal {-status}" if status < 0 else (lines or [f"status {status}"])[-1]

    def end(self, seconds: float) -> None:
        """Kill those that have not ended after `seconds`, and wait until they have."""
        self._wait(seconds)
        for process in self.processes.values():
            process.kill()
        self._wait(END_SECONDS)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.alive() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)


@contextmanager
def started(tasks: Sequence[Task], settings: Params) -> Iterator[Processes]:
    """One process for each task, with its share of the cores; each writes to a log in the folder of the sweep.

    Of several GPUs each process sees one, unless `train.device` names one. They end by themselves, or are killed after
    an error in the block.
    """
    on_ray = settings.run.engine == "ray"
    with _on_ray(tasks, settings) if on_ray else nullcontext(_on_this_machine(tasks, settings.train.device)) as started:
        processes, seconds = Processes(started), 0.0
        try:
            yield processes
            seconds = END_SECONDS
        finally:
            processes.end(seconds)


def _on_this_machine(tasks: Sequence[Task], device: str) -> dict[str, Process]:
    threads = dict.fromkeys(THREADS, str(max(1, joblib.cpu_count() // len(tasks))))
    gpus = [] if ":" in device else _gpus()
    started: dict[str, Process] = {}
    for task in tasks:
        gpu = {VISIBLE_GPUS: gpus[task.index % len(gpus)]} if gpus else {}
        command, environment = [sys.executable, *COMMAND], os.environ | threads | gpu
        started[task.process] = LocalProcess(command, environment, _log(task), _log(task), _line(task))
    return started


def _gpus() -> list[str]:
    """The GPUs of this machine, by the number or name that CUDA knows them by."""
    count, given = gpu_driver.count(), os.environ.get(VISIBLE_GPUS)
    return [str(number) for number in range(count)] if given is None else given.split(",")[:count]


@contextmanager
def _on_ray(tasks: Sequence[Task], settings: Params) -> Iterator[dict[str, Process]]:
    with ray_cluster.placed(settings.run.address, len(tasks), settings.train.device) as slots:
        for task, slot in zip(tasks, slots, strict=True):
            slot.start(COMMAND, {}, _log(task), _log(task), _line(task))
        yield {task.process: slot for task, slot in zip(tasks, slots, strict=True)}


def _line(task: Task) -> str:
    return f"{task.to_json()}\n"


def _log(task: Task) -> Path:
    return Path(task.folder) / LOG.format(task.index)
