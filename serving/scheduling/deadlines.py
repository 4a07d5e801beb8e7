"""Time limits of requests, enforced by one periodic check instead of a timer for each request."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

Value = TypeVar("Value")


class Deadlines:
    """Requests in flight, each with a time limit of `seconds`, and of `extra_seconds` more if it waits for its turn."""

    def __init__(self, seconds: float, extra_seconds: float) -> None:
        self._seconds = seconds
        self._extra_seconds = extra_seconds
        self._limits: dict[asyncio.Task[object], float] = {}
        self._started: dict[asyncio.Task[object], float] = {}
        self._expired: set[asyncio.Task[object]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # of `watch`; without it, looking it up takes a system call

    def __len__(self) -> int:
        """The number of requests in flight."""
        return len(self._started)

    async def within(self, work: Awaitable[Value]) -> Value:
        """Await `work`. Raises TimeoutError after the time limit, which is its argument."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._started[task] = time.monotonic()
        try:
            return await work
        except asyncio.CancelledError:
            if task not in self._expired:
                raise
            task.uncancel()
            raise TimeoutError(self._limit(task)) from None
        finally:
            del self._started[task]
            self._limits.pop(task, None)
            self._expired.discard(task)

    def extend(self) -> None:
        """Extend the time limit of the current task's request, once."""
        task = asyncio.current_task()
        if task in self._started:
            self._limits[task] = self._seconds + self._extra_seconds

    async def watch(self) -> None:
        """Cancel expired requests periodically, until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(min(1.0, self._seconds / 10))
                self.cancel_expired()
        finally:
            self._loop = None

    def cancel_expired(self) -> None:
        """Cancel the requests that have exceeded the time limit."""
        now = time.monotonic()
        for task, started in self._started.items():
            if now - started > self._limit(task):
                self._expired.add(task)
                task.cancel()

    def _limit(self, task: asyncio.Task[object]) -> float:
        return self._limits.get(task, self._seconds)
