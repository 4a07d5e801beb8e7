"""The workers of a training as processes of this machine."""

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from models.config import Framework
from models.training import launchers
from pipelines.execution.ports import HOST, free_ports
from pipelines.execution.process import THREADS, LocalProcess
from pipelines.train import supervisor


def train(command: Sequence[str], framework: Framework, size: int) -> None:
    """Run `python` with `command` in `size` workers. Raises InputError if one fails; all have ended afterwards."""
    with TemporaryDirectory() as folder:
        run([sys.executable, *command], list(_environments(framework, size, Path(folder))), Path(folder))


def run(command: Sequence[str], environments: Sequence[Mapping[str, str]], folder: Path) -> None:
    """Run `command` in each of the `environments`, with logs in `folder`, as `train`."""
    with supervisor.ended_together() as workers:
        for rank, environment in enumerate(environments):
            log = folder / f"{rank}.log"
            workers.append(LocalProcess(command, environment, log, log if rank else None))
        supervisor.watch(workers)


def _environments(framework: Framework, size: int, folder: Path) -> Iterator[dict[str, str]]:
    """The environment of each worker. They share the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = dict.fromkeys(THREADS, str(max(1, cores // size)))
    for place in places(framework, size, folder):
        yield threads | os.environ | place


def places(framework: Framework, size: int, folder: Path) -> Iterator[dict[str, str]]:
    """The variables of each worker, by which they find each other in `folder` without leaving this machine."""
    addresses = [f"{HOST}:{port}" for port in free_ports(size)]
    # By default gloo listens on the address of the host's name, and torch's store on all addresses.
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    local = {launchers.INTERFACE: loopback, launchers.RENDEZVOUS: (folder / "rendezvous").as_uri()}
    for rank in range(size):
        yield local | launchers.write(framework, addresses, rank, rank)
