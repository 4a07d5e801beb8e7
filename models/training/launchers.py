"""The place of a process among the workers of a training, in the environment variables that launchers set."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.config import Framework
from models.errors import InputError

TORCH = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # of `torchrun`
KERAS = "TF_CONFIG"
LOCAL_RANK = "LOCAL_RANK"  # number of the process on its machine
INTERFACE = "GLOO_SOCKET_IFNAME"  # the network interface that workers of torch use; read by gloo
RENDEZVOUS = "TANDEM_RENDEZVOUS"  # where workers of torch find each other: a `file://` URL; by default MASTER_ADDR


@dataclass(frozen=True)
class Place:
    """The process is worker number `rank` of `size`, and number `local_rank` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0


def read(framework: Framework, environment: Mapping[str, str]) -> Place | None:
    """The place of this process, as set by a launcher; None without a launcher.

    torch has the variables of `torchrun` (https://docs.pytorch.org/docs/stable/elastic/run.html), Keras has `TF_CONFIG`
    (https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable). Raises
    InputError where they are incomplete or invalid, or those of a launcher for the other framework.
    """
    own, other = (_torch, _keras) if framework == "torch" else (_keras, _torch)
    rank_and_size = own(environment)
    if rank_and_size is None:
        _require_none(other(environment), framework)
        return None
    return Place(*rank_and_size, _number(environment, LOCAL_RANK) if LOCAL_RANK in environment else 0)


def write(framework: Framework, addresses: Sequence[str], rank: int, local_rank: int) -> dict[str, str]:
    """The environment variables of one worker; `addresses` are `host:port` of each."""
    if framework == "torch":
        host, port = addresses[0].rsplit(":", 1)
        values = (str(rank), str(len(addresses)), host, port)
        return {**dict(zip(TORCH, values, strict=True)), LOCAL_RANK: str(local_rank)}
    config = {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": rank}}
    return {KERAS: json.dumps(config), LOCAL_RANK: str(local_rank)}


def _require_none(other: tuple[int, int] | None, framework: Framework) -> None:
    if other and other[1] > 1:
        names = {"torch": (KERAS, "torchrun"), "keras": ("RANK", KERAS)}
        unread, allowed = names[framework]
        raise InputError(f"{unread} is set, which {framework} does not read; allowed for {framework}: {allowed}")


def _torch(environment: Mapping[str, str]) -> tuple[int, int] | None:
    if "RANK" not in environment:
        return None
    missing = [name for name in TORCH if not environment.get(name)]
    if missing:
        raise InputError(f"RANK is set, but not {', '.join(missing)}; allowed: none or all of {', '.join(TORCH)}")
    return _valid(_number(environment, "RANK"), _number(environment, "WORLD_SIZE"), "WORLD_SIZE")


def _keras(environment: Mapping[str, str]) -> tuple[int, int] | None:
    if not environment.get(KERAS):
        return None
    try:
        config = json.loads(environment[KERAS])
        cluster, task = config["cluster"], config["task"]
        chiefs, workers = (len(cluster.get(kind, ())) for kind in ("chief", "worker"))
        rank = {"chief": 0, "worker": chiefs}[task["type"]] + int(task["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{KERAS} = {environment[KERAS]!r}; allowed: JSON with cluster and task") from error
    return _valid(rank, chiefs + workers, KERAS)


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment[name]
    if not value.isdecimal():
        raise InputError(f"{name} = {value!r}; allowed: a number from 0 on")
    return int(value)


def _valid(rank: int, size: int, name: str) -> tuple[int, int]:
    if not 0 <= rank < size:
        raise InputError(f"{name}: rank {rank} of {size} workers; allowed: 0 to {size - 1}")
    return rank, size
