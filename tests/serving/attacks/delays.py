"""Good requests sent while hostile ones are answered, and how long they take."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

from tests.models.images.test_image import encode
from tests.serving.bundles import DIGITS, raw
from tests.serving.conftest import Local

MAX_DELAY = 0.25  # seconds that a good request may take while a hostile one is answered
ATTEMPTS = 5  # as the machine may be busy with other work, which `Stopwatch` leaves out in part
SMALL = encode(Image.fromarray(raw(DIGITS, 1)[0][..., 0]))
PNG = {"content-type": "image/png"}

Sent = tuple[str, str, dict[str, Any]]
GOOD: Sequence[Sent] = (("GET", "/livez", {}), ("POST", "/predict/image", {"content": SMALL, "headers": PNG}))


def attack(service: Local, *hostile: Sent, good: Sequence[Sent] = GOOD) -> tuple[list[httpx.Response], float]:
    """The responses to the hostile requests, and the longest time of a good one meanwhile: the least of 5 attempts."""
    for _ in range(ATTEMPTS):
        responses, longest = asyncio.run(_attack(service, hostile, good))
        if longest <= MAX_DELAY:
            break
    return responses, longest


async def _attack(service: Local, hostile: Sequence[Sent], good: Sequence[Sent]) -> tuple[list[httpx.Response], float]:
    transport = httpx.ASGITransport(service.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        tasks = [asyncio.create_task(client.request(method, path, **options)) for method, path, options in hostile]
        longest = await _longest(client, good)
        while not all(task.done() for task in tasks):
            longest = max(longest, await _longest(client, good))
        return await asyncio.gather(*tasks), longest


class Stopwatch:
    """Counts seconds without those for which threads were ready to run and waited for a core.

    That is the time that other work on the machine takes: 0 where the system (not Linux) does not count it. Counted are
    this thread and the threads of the processes below `served`, without one those of this process and, unless `alone`,
    those below it.
    """

    def __init__(self, served: int | None = None, alone: bool = False) -> None:
        self._process = None if alone else psutil.Process(served)
        self._own = "thread-self" if served else "self/task/*"
        self._queued = self._waits()
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Seconds since this stopwatch was made."""
        elapsed, waits = time.monotonic() - self._started, self._waits()
        return elapsed - sum(seconds - self._queued.get(name, 0.0) for name, seconds in waits.items())

    def _waits(self) -> dict[str, float]:
        waits = {}
        below = self._process.children(recursive=True) if self._process else ()
        for name in (self._own, *(f"{child.pid}/task/*" for child in below)):
            for file in Path("/proc").glob(f"{name}/schedstat"):
                with contextlib.suppress(OSError):
                    waits[str(file)] = int(file.read_text().split()[1]) / 1e9
        return waits


async def _longest(client: httpx.AsyncClient, good: Sequence[Sent]) -> float:
    """Send the good requests once, at the same time; the seconds until the last is answered."""
    stopwatch = Stopwatch()
    responses = await asyncio.gather(*(client.request(method, path, **options) for method, path, options in good))
    assert [response.status_code for response in responses] == [200] * len(good)
    return stopwatch.seconds()


def form(*files: bytes) -> dict[str, Any]:
    """The options of a request that sends files as a form."""
    return {"files": [("files", (f"{index}.png", content, "image/png")) for index, content in enumerate(files)]}


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
