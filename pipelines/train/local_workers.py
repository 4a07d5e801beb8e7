"""The workers of a training as processes of this machine."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from models.config import Framework
from models.training import launchers
from pipelines.train import supervisor

PR_SET_PDEATHSIG = 1  # of prctl(2)
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class LocalWorker:
    """A process. What it writes goes to the file `log`, but for the standard output of the `first` one."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path, first: bool) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=None if first else file,
                stderr=file,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone
                preexec_fn=_end_with_parent,  # noqa: PLW1509  # the supervisor starts no threads
            )

    def status(self) -> int | None:
        """As `supervisor.Worker`."""
        return self.process.poll()

    def lines(self) -> list[str]:
        """As `supervisor.Worker`."""
        return self.log.read_text("utf-8", "replace").splitlines()

    def terminate(self) -> None:
        """As `supervisor.Worker`."""
        self.process.terminate()

    def kill(self) -> None:
        """As `supervisor.Worker`."""
        self.process.kill()


def train(command: Sequence[str], framework: Framework, size: int) -> None:
    """Run `command` in `size` workers. Raises InputError if one of them fails; all have ended afterwards."""
    with TemporaryDirectory() as folder:
        run(command, list(_environments(framework, size, Path(folder))), Path(folder))


def run(command: Sequence[str], environments: Sequence[Mapping[str, str]], folder: Path) -> None:
    """Run `command` in each of the `environments`, with logs in `folder`, as `train`."""
    workers: list[LocalWorker] = []
    try:
        for rank, environment in enumerate(environments):
            workers.append(LocalWorker(command, environment, folder / f"{rank}.log", rank == 0))
        supervisor.watch(workers)
    finally:
        supervisor.end(workers)
    print(*workers[0].lines(), sep="\n", end="", file=sys.stderr)


def _environments(framework: Framework, size: int, folder: Path) -> Iterator[dict[str, str]]:
    """The environment of each worker. They share the cores, and find each other without leaving this machine."""
    addresses = _free_addresses(size)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = dict.fromkeys(THREADS, str(max(1, cores // size)))
    # By default gloo listens on the address of the host's name, and torch's store on all addresses.
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    local = {"GLOO_SOCKET_IFNAME": loopback, launchers.RENDEZVOUS: (folder / "rendezvous").as_uri()}
    for rank in range(size):
        yield threads | os.environ | local | launchers.write(framework, addresses, rank, rank)


def _free_addresses(count: int) -> list[str]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    return addresses


def _end_with_parent() -> None:
    """Have the kernel end this process with the supervisor, however that ends; only Linux does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
