"""Decodes images in processes of their own, each limited in computing time and memory.

Each worker has one parent process, `image_process`, with a resident size of 35 MB, and two children forked from it: one
for images that are decoded quickly, one for all others, so that a slow image delays slow ones only. Slow ones wait for
one another, as long as the sum of their estimated times is within a limit. A child that reaches a limit is ended by the
kernel and forked anew, in about 2 ms. The parent is started with `exec`, so that no thread of the worker is copied,
ends with its children when the worker is gone, and is started again if it was killed.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from models.errors import InputError
from models.images import image
from models.images.structure import Structure
from serving.errors import overloaded
from serving.scheduling import low_priority
from serving.scheduling.image_children import MESSAGE, Child, Job, Parent

QUICK_COST = 120_000_000  # nanoseconds, as estimated; a photograph of 12 megapixels takes 30 to 90 ms
QUICK_SECONDS, SECONDS = 0.25, 3.0  # of computing; 16 megapixels take up to 0.8 s
BYTES_PER_PIXEL, MIN_BYTES = 20, 1 << 26  # of memory; WebP needs 18 for each pixel
MAX_SLOW_COST = 10_000_000_000  # nanoseconds, of all slow images in progress: 24 of 16 megapixels
ENDING_SECONDS = 0.05  # between the end of a process' connections and its own
FORK = hasattr(os, "fork")  # without it (Windows) the threads decode, and no limit but those of the structure holds


class ImageError(InputError):
    """The image at `index` of a request cannot be decoded."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class LimitError(ImageError):
    """Decoding was ended at a limit."""


class ImageDecoder:
    """`max_pixels` is the largest sum of pixels of one request's images; it determines the memory limit."""

    def __init__(self, max_pixels: int) -> None:
        self._max_bytes = max(MIN_BYTES, BYTES_PER_PIXEL * max_pixels)
        self._quick, self._slow = _Lane("quick-images"), _Lane("slow-images")
        self._lock = threading.Lock()
        self._parent: Parent | None = None
        self._slow_cost = 0
        self._closed = False

    def start(self) -> None:
        """Start the parent process in advance; without this call the first image starts it.

        Raises RuntimeError if the process cannot be started.
        """
        if FORK and not self._running_parent().is_ready():
            raise RuntimeError("the process that decodes images has ended; its output precedes this line")

    async def decode(
        self, structures: Sequence[Structure], shape: tuple[int, ...], on_slow: Callable[[], None] | None = None
    ) -> np.ndarray:
        """The pixels of all images as uint8 [N, H, W, C].

        Images that take longer than was estimated start again among the slow ones, for which `on_slow` is called before
        they wait. Raises ImageError for an image that is damaged or reaches a limit, RequestError (503) for slow images
        while there are too many.
        """
        run = asyncio.get_running_loop().run_in_executor
        cost = sum(structure.cost for structure in structures)
        if cost <= QUICK_COST:
            with contextlib.suppress(LimitError):
                return await run(self._quick.thread, self._decode, self._quick, structures, shape, QUICK_SECONDS)
        with self._count_slow(max(cost, int(QUICK_SECONDS * 1e9))):
            if on_slow:
                on_slow()
            return await run(self._slow.thread, self._decode, self._slow, structures, shape, SECONDS)

    def close(self) -> None:
        """End the processes and the threads, and what they decode."""
        with self._lock:
            self._closed = True
            if self._parent:
                self._parent.close()
        for lane in (self._quick, self._slow):
            lane.thread.shutdown(cancel_futures=True)
            lane.drop_child()

    @contextlib.contextmanager
    def _count_slow(self, cost: int) -> Iterator[None]:
        """Count slow images of this cost while they are in progress. Raises RequestError if there are too many."""
        if self._slow_cost and self._slow_cost + cost > MAX_SLOW_COST:
            raise overloaded("too many large images are in progress; try again in a second")
        self._slow_cost += cost
        try:
            yield
        finally:
            self._slow_cost -= cost

    def _decode(
        self, lane: "_Lane", structures: Sequence[Structure], shape: tuple[int, ...], seconds: float
    ) -> np.ndarray:
        """As `decode`, in the lane's thread; once more if the parent process was killed."""
        if not FORK:
            return _render(structures, shape)
        limits = f"{seconds:g} s of computing time and {self._max_bytes >> 20} MB of memory"
        for _ in range(2):
            parent = self._running_parent()
            try:
                child = lane.start_job(parent, Job(structures, shape, seconds))
                return _receive(child, (len(structures), *shape), limits)
            except (LimitError, OSError):
                lane.drop_child()
                if not parent.has_ended(ENDING_SECONDS):
                    raise
        raise RuntimeError("the process that decodes images has ended twice; its output precedes this line")

    def _running_parent(self) -> Parent:
        with self._lock:
            if self._closed:
                raise RuntimeError("the image decoder is closed")
            if not self._parent or self._parent.has_ended():
                self._parent = Parent(self._max_bytes)
            return self._parent


class _Lane:
    """A thread, and the child whose answers it waits for."""

    def __init__(self, name: str) -> None:
        self.thread = low_priority.thread(name)
        self._child: Child | None = None

    def start_job(self, parent: Parent, job: Job) -> Child:
        """The child that has received the job, a new one if there is none. Raises OSError if none can be forked."""
        if self._child:
            with contextlib.suppress(OSError):  # ended while it had nothing to do
                self._child.send(job)
                return self._child
            self.drop_child()
        self._child = parent.fork()
        self._child.send(job)
        return self._child

    def drop_child(self) -> None:
        """Let the child end."""
        if self._child:
            self._child.close()
        self._child = None


def _receive(child: Child, shape: tuple[int, ...], limits: str) -> np.ndarray:
    """The pixels [N, H, W, C]. Raises ImageError for a damaged image, LimitError if the child ends."""
    pixels = np.empty(shape, np.uint8)
    for index in range(len(pixels)):
        try:
            kind, content = child.answer()
        except (EOFError, OSError):
            raise LimitError(index, f"the image cannot be decoded within {limits}") from None
        if kind == MESSAGE:
            raise ImageError(index, content.decode())
        pixels[index] = np.frombuffer(content, np.uint8).reshape(shape[1:])
    return pixels


def _render(structures: Sequence[Structure], shape: tuple[int, ...]) -> np.ndarray:
    """The pixels, decoded in this thread. Raises ImageError."""
    pixels = np.empty((len(structures), *shape), np.uint8)
    for index, structure in enumerate(structures):
        try:
            pixels[index] = image.render(structure, shape)
        except InputError as error:
            raise ImageError(index, str(error)) from error
    return pixels
