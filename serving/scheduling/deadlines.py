"""Time limits of requests, enforced by one periodic check instead of a timer for each request."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

Value = TypeVar("Value")


class Deadlines:
    """Requests in flight with the same time limit, so the oldest expires first."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started: dict[asyncio.Task[object], float] = {}
        self._expired: set[asyncio.Task[object]] = set()

    def __len__(self) -> int:
        """The number of requests in flight."""
        return len(self._started)

    async def within(self, work: Awaitable[Value]) -> Value:
        """Await `work`. Raises TimeoutError after the time limit."""
        task = asyncio.current_task()
        assert task is not None
        self._started[task] = time.monotonic()
        try:
            return await work
        except asyncio.CancelledError:
            if task not in self._expired:
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            del self._started[task]
            self._expired.discard(task)

    async def watch(self) -> None:
        """Cancel expired requests periodically, until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._seconds / 10))
            self.cancel_expired()

    def cancel_expired(self) -> None:
        """Cancel the requests that have exceeded the time limit."""
        latest = time.monotonic() - self._seconds
        for task, started in self._started.items():
            if started > latest:
                break
            self._expired.add(task)
            task.cancel()
