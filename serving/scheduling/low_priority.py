"""Work beside the event loop that must not slow it down."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor


def thread(name: str) -> ThreadPoolExecutor:
    """One thread that lets the event loop go first. Only Linux has a niceness for each thread."""
    return ThreadPoolExecutor(1, name, _give_way)


def _give_way() -> None:
    if sys.platform == "linux":
        os.nice(10)
