"""Resident memory of memory-mapped arrays."""

import mmap
from collections.abc import Iterator

import numpy as np

RESIDENT_BYTES = 1 << 26  # of an array that remains mapped as a whole


def batches(array: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive parts [size, ...] of `array` [N, ...], the last one may be smaller; pages are released after each."""
    for start in range(0, len(array), size):
        yield array[start : start + size]
        release(array)


def release(array: np.ndarray) -> None:
    """Unmap the pages that were read of a memory map of more than RESIDENT_BYTES, or of a view of one.

    Otherwise the resident memory of a process grows to the size of every file that it reads. The system still has the
    pages in its cache, from where the next access maps them again. Without effect on other arrays and on Windows.
    """
    while isinstance(array.base, np.ndarray):
        array = array.base
    # Only read-only maps: of a writable private copy the changes would be lost.
    if isinstance(array, np.memmap) and array.mode == "r" and array.nbytes > RESIDENT_BYTES:
        pages: object = array.base  # NumPy declares that it is an array or None
        if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)
