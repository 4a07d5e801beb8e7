"""Handles of the processes that decode images: their common parent, and a child."""

import contextlib
import os
import pickle
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from models.images.structure import Structure

ROOT = Path(__file__).parents[2]
PROCESS = "serving.scheduling.image_process"
ANSWER = struct.Struct("<BI")  # before each answer: PIXELS or MESSAGE, and the number of bytes that follow
PIXELS, MESSAGE = 0, 1


class Job(NamedTuple):
    """Images, the shape (H, W, C) in which they are needed, and the limit of computing time."""

    structures: Sequence[Structure]
    shape: tuple[int, ...]
    seconds: float


class Child:
    """A child process, connected by a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers = connection.makefile("rb")

    def send(self, job: Job) -> None:
        """Start a job. Raises OSError if the process has ended."""
        with _memory_file() as file:
            pickle.dump(job, file, pickle.HIGHEST_PROTOCOL)
            file.flush()
            socket.send_fds(self._connection, [b"\0"], [file.fileno()])

    def answer(self) -> tuple[int, bytes]:
        """PIXELS and values, or MESSAGE and text, for the next image. Raises EOFError or OSError if the child ends."""
        kind, size = ANSWER.unpack(self._read(ANSWER.size))
        return kind, self._read(size)

    def close(self) -> None:
        """Let the process end."""
        self._answers.close()
        self._connection.close()

    def _read(self, size: int) -> bytes:
        content = self._answers.read(size)
        if len(content) < size:
            raise EOFError
        return content


class Parent:
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
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def is_ready(self) -> bool:
        """Wait until the decoder is imported; False if the process ends before. To be called once."""
        return bool(self._control.recv(1))

    def has_ended(self, seconds: float = 0.0) -> bool:
        """Whether it ends within so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def fork(self) -> Child:
        """A new child. Raises OSError if the process has ended."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"\0"], [theirs.fileno()])
        return Child(ours)

    def close(self) -> None:
        """End it and its children."""
        self._control.close()
        self._process.wait()


def _memory_file() -> BinaryIO:
    """A file in memory: sent over a socket, a job would take several turns of both processes."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("images"), "w+b")
    return tempfile.TemporaryFile()
