"""Detection of NVIDIA's driver, without importing a framework."""

import ctypes
import sys


def has_nvidia_driver() -> bool:
    """Return whether the driver's library can be loaded; a GPU may still be unusable for a given framework."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
