"""Changes to defaults of BentoML's supervisor for which it has no setting.

Applied while the service is imported, before `bentoml serve` reads these defaults.
"""

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.utils import circus
from bentoml.exceptions import BentoMLException

from models.errors import InputError
from serving.process import json_log

CHECK_SECONDS = 2
WORKERS = "TANDEM_WORKERS"
GRPC_PORT = "TANDEM_GRPC_PORT"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
MEMORY = "/dev/shm"  # POSIX shared memory on Linux


def extend_supervisor() -> None:
    """Let BentoML make its supervisor by `_supervisor`."""
    if not isinstance(circus.create_standalone_arbiter, partial):
        circus.create_standalone_arbiter = partial(_supervisor, circus.create_standalone_arbiter)


def start_error(error: InputError) -> BaseException:
    """The exception that ends the start with one line, in the format of the log."""
    if not json_log.ENABLED:
        return cast(BaseException, BentoMLException(str(error)))
    logging.getLogger("bentoml.tandem").error("%s", error)
    return SystemExit(1)


def _supervisor(create: Callable[..., Any], watchers: Sequence[Any], **options: Any) -> Any:
    """A supervisor that starts as many workers as the environment says.

    It checks for dead ones every 2 s instead of every 10 s, so that a killed one is replaced within 10 s. BentoML
    replaces none in a container, whose end would show it; that holds for a single worker only.
    """
    _require_own_grpc_port(options.get("sockets", ()))
    for watcher in watchers:
        watcher.numprocesses = int(os.environ.get(WORKERS, watcher.numprocesses))
        watcher.respawn = watcher.respawn or watcher.numprocesses > 1
    return create(watchers, check_delay=CHECK_SECONDS, **options)


def _require_own_grpc_port(sockets: Sequence[Any]) -> None:
    """End the start if a port of HTTP is that of gRPC, on which each worker would fail, again and again."""
    port = os.environ.get(GRPC_PORT)
    if port and int(port) in {each.port for each in sockets}:
        raise start_error(InputError(f"{GRPC_PORT}: {port}: the port of HTTP; name another one"))


def set_workers(count: int) -> None:
    """Set the number of workers for the supervisor that this process will start, and for the workers themselves.

    BentoML has read that of the service before the champion was loaded, and the device was known.
    """
    os.environ[WORKERS] = str(count)


def use_own_metrics_folder() -> None:
    """Store the metrics of this service's workers in a folder of its own.

    BentoML uses one folder for all services of a user and empties it whenever one starts. It is in memory where the
    system allows it: the workers map its files, and a full disk would end them by SIGBUS.
    """
    if bentoml.server_context.worker_index is not None:  # a worker; its supervisor has set METRICS_FOLDER
        return
    memory = MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else None
    folder = tempfile.mkdtemp(prefix="tandem-counters-", dir=memory)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    BentoMLContainer.prometheus_multiproc_dir.set(folder)


def shared_folder() -> Path | None:
    """The folder that the workers of this service share; None outside a worker."""
    return Path(os.environ[METRICS_FOLDER]) if METRICS_FOLDER in os.environ else None


def connection_counts_file() -> Path | None:
    """The file in which the workers of this service count their connections; None outside a worker."""
    folder = shared_folder()
    return folder / "connections" if folder else None
