"""Processes that Ray places on the nodes of a cluster, or on a local Ray (https://docs.ray.io/en/latest/ray-core).

An actor starts a process on its node and watches it, so the process is what a local one is. The working directory has
to be that of this process on every node: a shared file system.
"""

import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any

import joblib
import psutil

from models.errors import InputError
from pipelines.execution.counts import counted
from pipelines.execution.ports import free_port
from pipelines.execution.process import THREADS, LocalProcess

LOOPBACK = "127.0.0.1"
# Without this variable, which Ray reads when it is imported, it replaces a loopback address by that of the machine, and
# listens on all addresses.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
OBJECT_STORE_BYTES = 80 << 20  # about the least that Ray allows; no objects are stored
SHOW_SECONDS = 10.0  # after which a line says what is waited for
CONNECT_SECONDS = 10.0
CALL_SECONDS = 1.0  # to wait for an actor, whose node may be lost
FORWARDED = ("MLFLOW_", "PG")  # prefixes of the variables that the processes take from this one
FOLDER = Path(".dvc") / "tmp" / "tandem"


class Slot:
    """The resources for one process, on the node that Ray has chosen. A `Process` once it is started."""

    def __init__(self, actor: Any, environment: Mapping[str, str]) -> None:
        self.actor = actor
        self.environment = environment
        self.log = Path()

    def address(self) -> tuple[str, str, int]:
        """The name of the network interface of the node, its address, and a free port."""
        interface, host, port = _ray().get(self.actor.address.remote())
        return interface, host, port

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        output: Path,
        text: str | None = None,
    ) -> None:
        """Start `python` with `arguments`. The rest as of `LocalProcess`; the variables are added to those of Ray."""
        self.log = log
        forwarded = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}
        variables = {**self.environment, **forwarded, **environment}
        _ray().get(self.actor.start.remote(list(arguments), variables, log.absolute(), output.absolute(), text))

    def status(self) -> int | None:
        """As `Process`; that of SIGKILL if the node is lost."""
        ray = _ray()
        try:
            status: int | None = ray.get(self.actor.status.remote(), timeout=CALL_SECONDS)
        except ray.exceptions.GetTimeoutError:
            return None
        except ray.exceptions.RayActorError:
            return -signal.SIGKILL
        return status

    def lines(self) -> list[str]:
        """As `Process`."""
        return self.log.read_text("utf-8", "replace").splitlines()

    def terminate(self) -> None:
        """As `Process`."""
        self.actor.terminate.remote()

    def kill(self) -> None:
        """As `Process`."""
        self.actor.kill.remote()


class _Host:
    """The actor: it starts a process on its node, which ends with it."""

    def __init__(self, folder: str) -> None:
        os.chdir(folder)

    def has(self, name: str) -> bool:
        return Path(name).exists()

    def address(self) -> tuple[str, str, int]:
        host = _ray().util.get_node_ip_address()
        interfaces = psutil.net_if_addrs().items()
        interface = next(name for name, addresses in interfaces if host in {one.address for one in addresses})
        return interface, host, free_port(host)

    def start(
        self, arguments: list[str], environment: dict[str, str], log: Path, output: Path, text: str | None
    ) -> None:
        self.process = LocalProcess([sys.executable, *arguments], os.environ | environment, log, output, text)

    def status(self) -> int | None:
        return self.process.status()

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()


@contextmanager
def placed(address: str | None, count: int, device: str) -> Iterator[list[Slot]]:
    """`count` slots of equal resources on the cluster at `address`, or on a local Ray; all end with the block.

    Each has a GPU if the cluster has as many and `device` is not the CPU. Raises InputError if the cluster cannot be
    reached, or has too few resources.
    """
    with _connected(address, count):
        ray = _ray()
        bundle = _bundle([node["Resources"] for node in ray.nodes() if node["Alive"]], count, device)
        group = ray.util.placement_group([bundle] * count)
        if not group.wait(SHOW_SECONDS):
            print(f"waiting for {count} x {bundle} of the Ray cluster, which others use", flush=True)
            ray.get(group.ready())
        cores = int(bundle["CPU"])
        strategy = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
        actor = ray.remote(_Host)
        options = {"num_cpus": cores, "num_gpus": bundle.get("GPU", 0)}
        actors = [
            actor.options(**options, scheduling_strategy=strategy(group, index)).remote(str(Path.cwd()))
            for index in range(count)
        ]
        _require_shared(actors)
        # Without a GPU for each, all use the CPU; Ray would let them see the GPUs of their node.
        hidden = {} if "GPU" in bundle else {"CUDA_VISIBLE_DEVICES": ""}
        yield [Slot(actor, dict.fromkeys(THREADS, str(cores)) | hidden) for actor in actors]


def _require_shared(actors: Sequence[Any]) -> None:
    """Raise InputError if a node does not have the working directory of this process."""
    ray = _ray()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=FOLDER) as file:
        try:
            reason = "" if all(ray.get([actor.has.remote(file.name) for actor in actors])) else "it is another one"
        except ray.exceptions.RayActorError as error:
            reason = str(error).splitlines()[-1]
    if reason:
        raise InputError(
            f"run.address: a node of the cluster cannot use {Path.cwd()} ({reason}); "
            "allowed: a file system that all nodes share, at the same path, and the same environment"
        )


def _bundle(nodes: Sequence[Mapping[str, float]], count: int, device: str) -> dict[str, float]:
    """The resources of each of `count` slots: as many cores as all can have alike."""
    has_gpus = device != "cpu" and sum(node.get("GPU", 0) for node in nodes) >= count
    if device == "cuda" and not has_gpus:
        gpus = sum(int(node.get("GPU", 0)) for node in nodes)
        raise InputError(
            f"{count} processes with train.device = 'cuda', but the Ray cluster has {counted(gpus, 'GPU')}"
        )

    def slots(cores: int) -> int:
        return sum(int(min(node.get("CPU", 0) // cores, node.get("GPU", 0) if has_gpus else count)) for node in nodes)

    most = int(max((node.get("CPU", 0) for node in nodes), default=0))
    cores = next((cores for cores in range(most, 0, -1) if slots(cores) >= count), None)
    if cores is None:
        total = sum(int(node.get("CPU", 0)) for node in nodes)
        raise InputError(
            f"{count} processes, but the Ray cluster has {counted(total, 'core')}; allowed: a core for each"
        )
    return {"CPU": cores, "GPU": 1} if has_gpus else {"CPU": cores}


@contextmanager
def _connected(address: str | None, count: int) -> Iterator[None]:
    """Connect to the cluster, or start a local Ray that listens on the loopback interface alone."""
    handler = signal.getsignal(signal.SIGTERM)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    with TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # names of its sockets must be short
        options: dict[str, Any] = {"address": address}
        if address is None:
            # Other users of this machine can reach the ports, but do not have the token.
            os.environ.update(LOOPBACK_ONLY | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
            options = {
                "address": "local",
                "num_cpus": max(count, joblib.cpu_count()),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
                "_node_ip_address": LOOPBACK,
                "_temp_dir": folder,
            }
        else:
            _require_reachable(address)
        ray = _ray()
        try:
            ray.init(**options, **quiet)
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise InputError(f"run.address = {address!r}: {' '.join(str(error).split())}") from error
        signal.signal(signal.SIGTERM, handler)  # which Ray has replaced
        # Ray prints errors of its nodes to standard output, in colour; `log_to_driver` does not apply to them.
        ray._private.worker.print_to_stdstream = _print_error
        try:
            yield
        finally:
            ray.shutdown()


def _print_error(data: Mapping[str, Any], **_: Any) -> None:
    """Print an error of a node to standard error, in place of a function of Ray."""
    print(*data["lines"], sep="\n", file=sys.stderr, flush=True)


def _require_reachable(address: str) -> None:
    """Raise InputError if nothing listens at `address`: Ray itself tries for minutes."""
    host, port = address.removeprefix("ray://").rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise InputError(f"run.address = {address!r}: {error.strerror or error}") from error


def _ray() -> Any:
    """Ray, which is imported where it is used only."""
    import ray
    import ray.util.scheduling_strategies

    return ray
