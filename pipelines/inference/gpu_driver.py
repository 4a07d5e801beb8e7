"""Whether this machine has NVIDIA's driver: asked of the system, in no time, before any framework is loaded."""

import ctypes
import sys


def has_nvidia_driver() -> bool:
    """True where the driver's library loads; whether a framework can use the GPU is that framework's to say."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
