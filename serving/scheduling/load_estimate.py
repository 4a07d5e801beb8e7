"""What a worker has to answer, how fast it does, and so how long one more request would have to wait."""

import time

WEIGHT = 0.01  # of the latest interval in the mean: about a hundred requests are remembered


class LoadEstimate:
    """Counts the requests in hand, and the mean time from one answer to the next while there are others.

    In hand are those that have arrived whole: one that is still being sent waits for its client.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._seconds = 0.0
        self._last = 0.0
        self._busy = False

    def arrived(self) -> None:
        """Note a request that is whole."""
        self.in_flight += 1

    def answered(self) -> None:
        """Note that one of them is answered."""
        self.in_flight -= 1
        now = time.perf_counter()
        if self._busy:
            self._seconds += WEIGHT * (now - self._last - self._seconds)
        self._last, self._busy = now, self.in_flight > 0

    def wait(self) -> float:
        """How many seconds it takes to answer what is in hand (Little 1961, doi:10.1287/opre.9.3.383)."""
        return self.in_flight * self._seconds
