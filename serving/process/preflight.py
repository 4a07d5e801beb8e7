"""Check of the champion before any worker starts: the supervisor would restart a failing worker forever."""

import os
import socket
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context

from models.errors import InputError
from serving.inference import champion
from serving.monitoring import prediction_log, tracing
from serving.settings import Settings

OWN_FILES = 512  # open files of a worker beside its connections: libraries, quotas, and those that wait for a refusal


def check(settings: Settings) -> str:
    """Load the champion in a separate process, and return the execution provider that it uses.

    Raises InputError if it, the prediction log, the challenger's folder, the gRPC port, so many connections or OTEL_*
    variables cannot be used. The process frees the device's memory when it ends, so that the supervisor holds none.
    """
    if settings.prediction_log:
        prediction_log.require_folder(settings.prediction_log)
    if settings.challenger and not settings.challenger.is_dir():
        raise InputError(f"TANDEM_CHALLENGER: {settings.challenger}: no such folder; create it, or unset the variable")
    if settings.canary_share:
        _check_canary(settings)
    if settings.grpc_port:
        _require_free_port(settings.grpc_port)
    _allow_open_files(settings)
    method = "fork" if "fork" in get_all_start_methods() else None  # faster: all modules are imported already
    with ProcessPoolExecutor(1, get_context(method)) as pool:
        try:
            return pool.submit(_load, settings).result()
        except BrokenProcessPool:
            raise InputError(f"{settings.champion}: loading was killed; is there too little memory?") from None


def _check_canary(settings: Settings) -> None:
    """Raise InputError for settings of a canary release that do not agree."""
    if not settings.challenger:
        raise InputError(f"TANDEM_CANARY_SHARE: {settings.canary_share}: needs TANDEM_CHALLENGER")
    if not os.access(settings.challenger, os.W_OK | os.X_OK):
        raise InputError(f"TANDEM_CHALLENGER: {settings.challenger}: not writable; a rollback is recorded there")
    if settings.canary_timeout_seconds >= settings.timeout_seconds:
        raise InputError(
            f"TANDEM_CANARY_TIMEOUT_SECONDS: {settings.canary_timeout_seconds}: the champion could not answer in time; "
            f"allowed: less than TANDEM_TIMEOUT_SECONDS, {settings.timeout_seconds}"
        )
    if settings.canary_window < settings.canary_min_requests:
        raise InputError(
            f"TANDEM_CANARY_WINDOW: {settings.canary_window}: never checked; "
            f"allowed: TANDEM_CANARY_MIN_REQUESTS, {settings.canary_min_requests}, or more"
        )


def _require_free_port(port: int) -> None:
    """Raise InputError if another process listens on the port: two services would both get a part of the calls."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier service may linger
        try:
            probe.bind(("", port))
        except OSError as error:
            raise InputError(f"TANDEM_GRPC_PORT: {port}: {error.strerror}; name a free port") from None


def _allow_open_files(settings: Settings) -> None:
    """Raise the limit of open files, which the workers inherit, to what all connections need.

    A worker without a free file could neither read a new champion nor decode an image. Raises InputError if the system
    does not allow as many.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = OWN_FILES + settings.max_connections * (2 if settings.grpc_port else 1)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputError(
            f"TANDEM_MAX_CONNECTIONS: {settings.max_connections}: a worker needs {needed} open files, and the system "
            f"allows {hard}; raise that limit (ulimit -Hn), or name fewer connections"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _load(settings: Settings) -> str:
    tracing.from_environment()
    loaded = champion.load(
        settings.champion, settings.device, settings.engines, settings.verify_key, settings.gpu_memory_bytes
    )
    return loaded.predictor.provider
