"""Decodes images in processes of their own, each limited in computing time and memory.

Each worker has one parent process, `image_process`, with a resident size of 35 MB. It forks a child for each request,
which takes about 1 ms; a child that reaches a limit is ended by the kernel. The parent is started with `exec`, so that
no thread of the worker is copied, ends with its children when the worker is gone, and is started again if it was
killed. Two threads wait for the children, one for images that are decoded quickly and one for all others: a slow image
delays slow ones only.
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from models import image
from models.errors import InputError
from models.image_structure import Structure
from serving.scheduling import low_priority

ROOT = Path(__file__).parents[2]
PROCESS = "serving.scheduling.image_process"
QUICK_COST = 120_000_000  # nanoseconds, as estimated; a photograph of 12 megapixels takes 30 to 90 ms
QUICK_SECONDS, SECONDS = 0.25, 3.0  # of computing; 16 megapixels take up to 0.8 s
BYTES_PER_PIXEL, MIN_BYTES = 20, 1 << 26  # of memory; WebP needs 18 for each pixel
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
        self._quick, self._slow = low_priority.thread("quick-images"), low_priority.thread("slow-images")
        self._lock = threading.Lock()
        self._parent: _Parent | None = None
        self._closed = False

    def start(self) -> None:
        """Start the parent process in advance; without this call the first image starts it."""
        if FORK:
            self._running_parent()

    async def decode(self, structures: Sequence[Structure], shape: tuple[int, ...]) -> np.ndarray:
        """The pixels of all images as uint8 [N, H, W, C].

        Raises ImageError for an image that is damaged or reaches a limit. Images that take longer than was estimated
        start again among the slow ones.
        """
        run = asyncio.get_running_loop().run_in_executor
        if sum(structure.cost for structure in structures) <= QUICK_COST:
            with contextlib.suppress(LimitError):
                return await run(self._quick, self._decode, structures, shape, QUICK_SECONDS)
        return await run(self._slow, self._decode, structures, shape, SECONDS)

    def close(self) -> None:
        """End the processes and the threads, and what they decode."""
        with self._lock:
            self._closed = True
            if self._parent:
                self._parent.close()
        for thread in (self._quick, self._slow):
            thread.shutdown(cancel_futures=True)

    def _decode(self, structures: Sequence[Structure], shape: tuple[int, ...], seconds: float) -> np.ndarray:
        """As `decode`, in this thread's child; once more if the parent was killed."""
        if not FORK:
            return _render(structures, shape)
        for _ in range(2):
            parent = self._running_parent()
            try:
                return self._exchange(parent, structures, shape, seconds)
            except LimitError:
                if not parent.has_ended(ENDING_SECONDS):
                    raise
        raise RuntimeError(f"{PROCESS} has ended twice; its output precedes this line")

    def _exchange(
        self, parent: "_Parent", structures: Sequence[Structure], shape: tuple[int, ...], seconds: float
    ) -> np.ndarray:
        """Send one job to a child and read its answers. A child that is gone has reached a limit."""
        pixels = np.empty((len(structures), *shape), np.uint8)
        index = 0
        try:
            with parent.fork() as connection:
                connection.send((structures, shape, seconds))
                for index in range(len(structures)):
                    answer = connection.recv_bytes()
                    if answer[0]:
                        raise ImageError(index, answer[1:].decode())
                    pixels[index] = np.frombuffer(answer, np.uint8, offset=1).reshape(shape)
        except (EOFError, OSError):
            limits = f"{seconds:g} s of computing time and {self._max_bytes >> 20} MB of memory"
            raise LimitError(index, f"the picture cannot be decoded within {limits}") from None
        return pixels

    def _running_parent(self) -> "_Parent":
        with self._lock:
            if self._closed:
                raise RuntimeError("the image decoder is closed")
            if not self._parent or self._parent.has_ended():
                self._parent = _Parent(self._max_bytes)
            return self._parent


def _render(structures: Sequence[Structure], shape: tuple[int, ...]) -> np.ndarray:
    """The pixels, decoded in this thread. Raises ImageError."""
    pixels = np.empty((len(structures), *shape), np.uint8)
    for index, structure in enumerate(structures):
        try:
            pixels[index] = image.render(structure, shape)
        except InputError as error:
            raise ImageError(index, str(error)) from error
    return pixels


class _Parent:
    """The parent process; `max_bytes` is the memory that each child may use in addition to the parent's."""

    def __init__(self, max_bytes: int) -> None:
        self._control, theirs = socket.socketpair()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TANDEM_")}
        paths = os.pathsep.join([str(ROOT), *sys.path])
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROCESS, str(max_bytes)],
                env=kept | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
                stdin=theirs.fileno(),
                start_new_session=True,
            )

    def has_ended(self, seconds: float = 0.0) -> bool:
        """Whether it ends within so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def fork(self) -> Connection:
        """A connection to a new child. Raises OSError if the process has ended."""
        ours, theirs = socket.socketpair()
        with theirs:
            connection = Connection(ours.detach())
            socket.send_fds(self._control, [b"\0"], [theirs.fileno()])
        return connection

    def close(self) -> None:
        """End it and its children."""
        self._control.close()
        self._process.wait()
