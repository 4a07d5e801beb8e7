"""Imports of a library without packages that it would import where they are installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Keras imports them for plots, wrappers and data adapters that no model here uses: three quarters of its own import.
EXTRAS_OF_KERAS = ("matplotlib", "pandas", "sklearn")


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Make imports of these packages fail in the block, as if they were not installed; imported ones stay."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
