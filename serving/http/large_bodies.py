"""Large bodies to parse: memory is reserved first, and one request after another is answered.

Parsed JSON takes up to 40 times the bytes of the body, and blocks the event loop while it is parsed. So there is one at
a time, and others are answered in between. Those that wait share one reservation, which is enough for the largest of
them: what was accepted is answered, and what memory is left for is decided on arrival.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from serving.errors import too_large
from serving.http.messages import MemoryBudget, Request

SMALL_BYTES = 1 << 16  # is parsed at once: about as much as arrives in one part
MAX_PAUSE = 0.05  # seconds after a large request, or as long as it took
# Upper bounds of what orjson 3.11 and CPython 3.11 need, in bytes for each byte of the body, comma or colon, quotation
# mark, list, and object; the last two are larger than that, as lists and objects take the longest time.
PER_BYTE, PER_VALUE, PER_QUOTE, PER_LIST, PER_OBJECT = 6, 48, 20, 192, 256
Result = TypeVar("Result")


class LargeBodies:
    """Gives the requests of one worker that have large bodies their turns, in the order of their arrival."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._turn = asyncio.Lock()
        self._sizes: list[int] = []  # of the requests that wait or have their turn
        self._reserved = 0
        self._pause_until = 0.0

    async def convert(self, request: Request, size: int, convert: Callable[[], Result]) -> Result:
        """`convert()`, which takes up to `size` bytes of memory, in the request's turn, which lasts until it is closed.

        Raises RequestError: 413 if that is more memory than there is, 503 if it is in use.
        """
        if size > self._budget.total:
            megabytes = f"{size / 1e6:.0f} MB of memory to parse; there are {self._budget.total / 1e6:.0f} MB"
            raise too_large(f"the body takes up to {megabytes}; send fewer examples, fewer lists, or binary data")
        self._reserve([*self._sizes, size])
        request.on_close(lambda: self._release(size))
        request.wait_for_turn()
        await self._turn.acquire()
        started = time.perf_counter()
        request.on_close(lambda: self._end(started))
        await asyncio.sleep(self._pause_until - started)
        with _no_collection():
            return convert()

    def _reserve(self, sizes: list[int]) -> None:
        """Reserve as much as the largest of `sizes`. Raises RequestError (503) if there is not enough."""
        largest = max(sizes, default=0)
        self._budget.reserve(largest - self._reserved)
        self._sizes, self._reserved = sizes, largest

    def _release(self, size: int) -> None:
        """Release what only a request of this size needs."""
        self._sizes.remove(size)
        self._reserve(self._sizes)

    def _end(self, started: float) -> None:
        """Let the next one follow, after a pause."""
        finished = time.perf_counter()
        self._pause_until = finished + min(finished - started, MAX_PAUSE)
        self._turn.release()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Disable garbage collection in the block: JSON has no cycles, and searching for them takes longer than parsing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def parsed_bytes(body: bytes) -> int:
    """An upper bound of the memory that parsing of JSON takes, beside the body itself."""
    values, quotes = body.count(b",") + body.count(b":"), body.count(b'"')
    lists, objects = body.count(b"["), body.count(b"{")
    return PER_BYTE * len(body) + PER_VALUE * values + PER_QUOTE * quotes + PER_LIST * lists + PER_OBJECT * objects
