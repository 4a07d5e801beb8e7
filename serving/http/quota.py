"""Requests per minute, counted for all workers together."""

import fcntl
import os
import struct
import tempfile
import time
from pathlib import Path

WINDOW = 60.0  # seconds
STATE = struct.Struct("d")


class Quota:
    """Requests per minute of one name, counted for all workers together in a file of `folder`.

    The generic cell rate algorithm (ITU-T I.371): `per_minute` requests at once after a pause, and as many per minute
    from then on. The file has the time at which the quota would be whole again, from a clock that all processes share.
    """

    def __init__(self, name: str, per_minute: int, folder: Path | None) -> None:
        self._interval = WINDOW / per_minute
        if folder:  # the metrics are there too, and their reader takes every file *.db for one of its own
            path = folder / f"quota-{name}.state"
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", 0)
        else:  # this process is the only one
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 # closed with this object
        self._descriptor = self._file.fileno()
        if os.fstat(self._descriptor).st_size < STATE.size:
            os.pwrite(self._descriptor, STATE.pack(0.0), 0)  # later writes need no space on the disk

    def take(self) -> float:
        """Count a request; 0, or the seconds until one is possible: this one is not counted."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # for microseconds; released if the process ends
        try:
            now = time.monotonic()
            whole = min(max(STATE.unpack(os.pread(self._descriptor, STATE.size, 0))[0], now), now + WINDOW)
            wait = whole + self._interval - now - WINDOW
            if wait > 1e-6:
                return float(wait)
            os.pwrite(self._descriptor, STATE.pack(whole + self._interval), 0)
            return 0.0
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
