"""Requests in flight, their throughput, and the expected wait of a further request."""

import time

WEIGHT = 0.01  # of the latest interval in the exponential mean, which covers about a hundred requests


class LoadEstimate:
    """Counts requests in flight, and averages the time between two responses while others are in flight.

    A request is in flight once its body has arrived.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self._seconds = 0.0
        self._last = 0.0
        self._busy = False

    def arrived(self) -> None:
        """Count a request whose body has arrived."""
        self.in_flight += 1

    def answered(self) -> None:
        """Count a response."""
        self.in_flight -= 1
        now = time.perf_counter()
        if self._busy:
            self._seconds += WEIGHT * (now - self._last - self._seconds)
        self._last, self._busy = now, self.in_flight > 0

    def expected_wait(self) -> float:
        """Seconds until all requests in flight are answered (Little 1961, doi:10.1287/opre.9.3.383)."""
        return self.in_flight * self._seconds
