"""Whether the champion can be served, found out before any worker starts: one that fails is restarted forever."""

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context

from models.errors import InputError
from serving.inference import champion
from serving.monitoring import prediction_log
from serving.settings import Settings


def check(settings: Settings) -> None:
    """Load the champion once, in a process of its own. Raises InputError where it, or what goes with it, cannot be.

    The process takes what it opened with it: the parent of the workers holds no memory of the device.
    """
    if settings.prediction_log:
        prediction_log.require_folder(settings.prediction_log)
    method = "fork" if "fork" in get_all_start_methods() else None  # quick: everything is imported already
    with ProcessPoolExecutor(1, get_context(method)) as pool:
        try:
            pool.submit(_load, settings).result()
        except BrokenProcessPool:
            raise InputError(f"{settings.champion}: the process that loaded it was killed; is there memory?") from None


def _load(settings: Settings) -> None:
    champion.load(settings.champion, settings.device, settings.engines)
