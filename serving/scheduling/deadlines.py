"""Requests in hand and when each must be done: one look at all of them now and then, not a timer for each."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

Answer = TypeVar("Answer")


class Deadlines:
    """Every request gets the same time, so the first in is the first that is late."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()

    def __len__(self) -> int:
        """Requests in hand."""
        return len(self._held)

    async def within(self, work: Awaitable[Answer]) -> Answer:
        """The answer. Raises TimeoutError where it is not there in time."""
        task = asyncio.current_task()
        assert task is not None
        self._held[task] = time.monotonic()
        try:
            return await work
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            del self._held[task]
            self._late.discard(task)

    async def watch(self) -> None:
        """Cancel what is late, until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._seconds / 10))
            self.look()

    def look(self) -> None:
        """Cancel what is late."""
        limit = time.monotonic() - self._seconds
        for task, since in self._held.items():
            if since > limit:
                break
            self._late.add(task)
            task.cancel()
