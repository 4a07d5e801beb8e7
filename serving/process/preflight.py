"""Check of the champion before any worker starts: the supervisor would restart a failing worker forever."""

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context

from models.errors import InputError
from serving.inference import champion
from serving.monitoring import prediction_log, tracing
from serving.settings import Settings


def check(settings: Settings) -> None:
    """Load the champion in a separate process.

    Raises InputError if it, the prediction log, the challenger's folder or the variables OTEL_* cannot be used. The
    process frees the device's memory when it ends, so that the supervisor holds none.
    """
    if settings.prediction_log:
        prediction_log.require_folder(settings.prediction_log)
    if settings.challenger and not settings.challenger.is_dir():
        raise InputError(f"TANDEM_CHALLENGER: {settings.challenger}: no such folder; create it, or unset the variable")
    method = "fork" if "fork" in get_all_start_methods() else None  # faster: all modules are imported already
    with ProcessPoolExecutor(1, get_context(method)) as pool:
        try:
            pool.submit(_load, settings).result()
        except BrokenProcessPool:
            raise InputError(f"{settings.champion}: loading was killed; is there too little memory?") from None


def _load(settings: Settings) -> None:
    tracing.from_environment()
    champion.load(settings.champion, settings.device, settings.engines)
