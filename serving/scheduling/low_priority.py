"""Threads with a lower priority than the event loop."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor


def thread(name: str) -> ThreadPoolExecutor:
    """An executor of one thread with raised niceness; only Linux supports this per thread."""
    return ThreadPoolExecutor(1, name, _lower_priority)


def _lower_priority() -> None:
    if sys.platform == "linux":
        os.nice(10)
