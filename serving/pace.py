"""How fast a worker answers when it is busy, and so how long one more request would have to wait."""

import time

WEIGHT = 0.01  # of the latest interval in the mean: about a hundred requests are remembered


class Pace:
    """The mean time from one answer to the next, while there are others in hand."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._last = 0.0
        self._busy = False

    def answered(self, left: int) -> None:
        """Note an answer that leaves so many requests in hand."""
        now = time.perf_counter()
        if self._busy:
            self._seconds += WEIGHT * (now - self._last - self._seconds)
        self._last, self._busy = now, left > 0

    def wait(self, held: int) -> float:
        """How many seconds it takes to answer so many requests (Little 1961, doi:10.1287/opre.9.3.383)."""
        return held * self._seconds
