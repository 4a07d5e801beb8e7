"""Check of the champion before any worker starts: the supervisor would restart a failing worker forever."""

import os
import socket
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context

from models.errors import InputError
from serving.inference import champion
from serving.monitoring import prediction_log, tracing
from serving.settings import Settings


def check(settings: Settings) -> None:
    """Load the champion in a separate process.

    Raises InputError if it, the prediction log, the challenger's folder, the gRPC port or OTEL_* variables cannot be
    used. The process frees the device's memory when it ends, so that the supervisor holds none.
    """
    if settings.prediction_log:
        prediction_log.require_folder(settings.prediction_log)
    if settings.challenger and not settings.challenger.is_dir():
        raise InputError(f"TANDEM_CHALLENGER: {settings.challenger}: no such folder; create it, or unset the variable")
    if settings.canary_share:
        _check_canary(settings)
    if settings.grpc_port:
        _require_free_port(settings.grpc_port)
    method = "fork" if "fork" in get_all_start_methods() else None  # faster: all modules are imported already
    with ProcessPoolExecutor(1, get_context(method)) as pool:
        try:
            pool.submit(_load, settings).result()
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


def _load(settings: Settings) -> None:
    tracing.from_environment()
    champion.load(settings.champion, settings.device, settings.engines, settings.verify_key)
