"""Expensive work whose result several requests wait for at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

MAX_PAUSE = 0.05  # seconds between two pieces of work, or as long as the first took
Result = TypeVar("Result")


class SharedWork:
    """Does one piece of work at a time, each once for all requests that wait for it."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting: dict[Hashable, asyncio.Task[Any]] = {}
        self._pause_until = 0.0

    async def result(self, key: Hashable, work: Callable[[], Awaitable[Result]]) -> Result:
        """The result of `work`. Work with an equal `key` is done once for all that wait; it never starts before the
        request.
        """
        if key not in self._waiting:
            self._waiting[key] = asyncio.create_task(self._run(key, work))
        return cast(Result, await asyncio.shield(self._waiting[key]))

    async def _run(self, key: Hashable, work: Callable[[], Awaitable[Result]]) -> Result:
        async with self._turn:
            started = time.perf_counter()
            await asyncio.sleep(self._pause_until - started)
            del self._waiting[key]
            started = time.perf_counter()
            try:
                return await work()
            finally:
                finished = time.perf_counter()
                self._pause_until = finished + min(finished - started, MAX_PAUSE)
