"""The latest requests of a canary release, and their limits."""

from collections import deque
from typing import Literal

from serving.settings import Settings

Reason = Literal["errors", "latency", "disagreement"]


class Sums:
    """Pairs of an amount and a weight, of which the latest `size` count."""

    def __init__(self, size: int) -> None:
        self._pairs: deque[tuple[float, float]] = deque()
        self._size = size
        self._amount = self._weight = 0.0

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def mean(self) -> float:
        """The sum of the amounts by that of the weights; 0 without any."""
        return self._amount / self._weight if self._weight else 0.0

    def add(self, amount: float, weight: float = 1.0) -> None:
        """Add a pair, and remove the oldest one beyond the size."""
        self._pairs.append((amount, weight))
        self._amount += amount
        self._weight += weight
        if len(self._pairs) > self._size:
            oldest = self._pairs.popleft()
            self._amount -= oldest[0]
            self._weight -= oldest[1]


class Window:
    """Errors, times and comparisons of the latest `canary_window` requests, checked from `canary_min_requests` on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        size = settings.canary_window
        self.errors, self.seconds, self.champion_seconds, self.differing = (Sums(size) for _ in range(4))

    def violation(self) -> tuple[Reason, str] | None:
        """The first limit that is exceeded, with what was found; None if there is none."""
        settings, least = self._settings, self._settings.canary_min_requests
        if len(self.errors) >= least and self.errors.mean > settings.canary_max_errors:
            return "errors", f"{self.errors.mean:.3g} of the requests failed; allowed: {settings.canary_max_errors}"
        delay = self.seconds.mean - self.champion_seconds.mean
        if min(len(self.seconds), len(self.champion_seconds)) >= least and delay > settings.canary_max_delay_seconds:
            allowed = settings.canary_max_delay_seconds
            return "latency", f"{delay:.3g} s slower than the champion on average; allowed: {allowed} s"
        if len(self.differing) >= least and self.differing.mean > settings.canary_max_disagreement:
            found, allowed = self.differing.mean, settings.canary_max_disagreement
            return "disagreement", f"{found:.3g} of the compared examples differ; allowed: {allowed}"
        return None
