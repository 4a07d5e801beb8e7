"""Numbers of open connections of all workers, in a file that they map into memory."""

import mmap
import os
import time
from pathlib import Path

ALIVE_SECONDS = 2.0  # a worker with an older heartbeat is ignored: it was killed, or its event loop is blocked
SLOT = 2  # numbers of 8 bytes per worker: open connections, time of the last heartbeat


class SharedCounts:
    """The count of worker `index` of `workers`, beside those of the others in `file`. Without a file there are none.

    Each worker writes its own slot alone and reads the others'; a number of 8 bytes is written at once.
    """

    def __init__(self, file: Path | None, workers: int, index: int) -> None:
        size = SLOT * 8 * max(workers, index + 1)
        memory = memoryview(_map(file, size) if file else bytearray(size))
        self._counts, self._times = memory.cast("q"), memory.cast("d")
        self._slot = SLOT * index
        self._others = [SLOT * other for other in range(workers) if other != index]

    def set(self, count: int) -> None:
        """Write this worker's number of open connections."""
        self._counts[self._slot] = count

    def renew(self) -> None:
        """Write a heartbeat."""
        self._times[self._slot + 1] = time.monotonic()

    def leave(self) -> None:
        """Remove this worker from the comparison: it accepts no more connections."""
        self._times[self._slot + 1] = 0.0

    def fewest(self) -> int | None:
        """The smallest count of the other workers that are alive; None without any."""
        oldest = time.monotonic() - ALIVE_SECONDS
        return min((self._counts[slot] for slot in self._others if self._times[slot + 1] > oldest), default=None)


def _map(file: Path, size: int) -> mmap.mmap:
    """`size` bytes of `file`, zero where nobody has written yet, shared with every process that maps them."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_size < size:
            os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
