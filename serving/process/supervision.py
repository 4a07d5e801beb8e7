"""What BentoML's supervisor does for the workers, where its defaults do not fit and cannot be set.

Called while the service is imported, which `bentoml serve` does before it looks these defaults up.
"""

import atexit
import os
import shutil
import tempfile
from functools import partial

from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.utils import circus

SECONDS = 2
COUNTERS = "PROMETHEUS_MULTIPROC_DIR"


def look_often() -> None:
    """Look for dead workers every 2 s, not every 10: a killed worker should be back well within 10."""
    if not isinstance(circus.create_standalone_arbiter, partial):
        circus.create_standalone_arbiter = partial(circus.create_standalone_arbiter, check_delay=SECONDS)


def keep_own_counters() -> None:
    """Let this service's workers add up their counters in a folder of their own.

    BentoML has one folder for all services of a user, and empties it when the next one starts.
    """
    if COUNTERS in os.environ:  # a worker has its folder from the supervisor
        return
    folder = tempfile.mkdtemp(prefix="tandem-counters-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    BentoMLContainer.prometheus_multiproc_dir.set(folder)
