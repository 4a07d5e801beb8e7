"""NVIDIA's driver, without importing a framework."""

import ctypes
import sys


def has_nvidia_driver() -> bool:
    """Return whether the driver's library can be loaded; a GPU may still be unusable for a given framework."""
    try:
        _driver()
    except OSError:
        return False
    return True


def count() -> int:
    """The number of GPUs that CUDA sees in this process; 0 without a driver."""
    try:
        driver = _driver()
    except OSError:
        return 0
    found = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(found))
    return 0 if failed else found.value


def free_memory(number: int) -> int:
    """The free bytes of a GPU, numbered as CUDA does in this process; 0 if the driver reports an error.

    Raises OSError where there is no driver.
    """
    driver = _driver()
    device, context = ctypes.c_int(), ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), number):
        return 0
    # The context that frameworks use, too.
    if driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device):
        return 0
    try:
        if driver.cuCtxPushCurrent_v2(context):
            return 0
        failed = driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        driver.cuCtxPopCurrent_v2(ctypes.byref(context))
        return 0 if failed else free.value
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)


def _driver() -> ctypes.CDLL:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
