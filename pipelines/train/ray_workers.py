"""The workers of a training as processes that Ray places."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from models.config import Framework, Train
from models.training import launchers
from pipelines.execution import ray_cluster
from pipelines.train import supervisor


def train(command: Sequence[str], framework: Framework, config: Train, address: str | None) -> None:
    """As `local_workers.train`, on the cluster at `address`, or on a local Ray."""
    ray_cluster.FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(dir=ray_cluster.FOLDER) as name,
        ray_cluster.placed(address, config.workers, config.device) as slots,
        supervisor.ended_together() as workers,
    ):
        folder = Path(name).absolute()
        interfaces, hosts, ports = zip(*(slot.address() for slot in slots), strict=True)
        addresses = [f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)]
        # torch's store would listen on all addresses.
        local = {launchers.RENDEZVOUS: (folder / "rendezvous").as_uri()} if address is None else {}
        output = folder / "0.out"
        for rank, slot in enumerate(slots):
            environment = {launchers.INTERFACE: interfaces[rank], **local}
            environment |= launchers.write(framework, addresses, rank, 0)  # Ray shows each the GPU that it has
            slot.start(command, environment, folder / f"{rank}.log", folder / f"{rank}.out")
            workers.append(slot)
        with output.open(encoding="utf-8", errors="replace") as lines:
            supervisor.watch(workers, lambda: _copy(lines))
            _copy(lines)


def _copy(lines: TextIO) -> None:
    """Print what has been written since."""
    print(lines.read(), end="", flush=True)
