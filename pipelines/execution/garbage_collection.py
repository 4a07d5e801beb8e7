"""Garbage collection without the objects of imported libraries, which remain until the process ends.

Collections that search them were measured to take a third of the CPU time of a process that imports Keras: while it is
imported, later, and once more at the end of the process.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing in the block, which imports libraries; later collections omit all objects that exist at its end.

    Without an import nothing is omitted, as garbage that exists would remain.

    Recipe: https://docs.python.org/3/library/gc.html#gc.freeze
    """
    was_enabled = gc.isenabled()
    imported = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > imported:
            gc.freeze()
        if was_enabled:
            gc.enable()
