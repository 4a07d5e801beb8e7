"""Decodes images in child processes; started by `image_decoder` with the memory that each may use, in bytes.

Standard input is a Unix socket. For each socket received over it a child is forked, which answers the jobs from that
socket. The process has a single thread, has imported the decoder when it sends READY, and is the leader of its process
group. It ends with all its children when standard input is closed.
"""

import contextlib
import gc
import os
import pickle
import resource
import signal
import socket
import sys
import traceback

from models.errors import InputError
from models.images import image
from models.images.structure import Structure
from serving.scheduling.image_children import ANSWER, MESSAGE, PIXELS

BASE_BYTES = 1 << 27  # of address space; the interpreter and its libraries take 110 MB
WALL_SECONDS = 300.0  # as a child may have to wait for a core; computing has its own limit
NICENESS = 10
READY = b"\0"


def main() -> None:
    """Fork a child for each socket received, until the other side is closed."""
    max_bytes = int(sys.argv[1])
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    gc.freeze()
    with contextlib.suppress(ConnectionError), socket.socket(fileno=0) as control:  # reset if READY was not read
        control.sendall(READY)
        while descriptors := socket.recv_fds(control, 1, 1)[1]:
            if os.fork() == 0:
                control.close()
                _child(descriptors[0], max_bytes)
            os.close(descriptors[0])
    os.killpg(os.getpid(), signal.SIGKILL)


def _child(descriptor: int, max_bytes: int) -> None:
    """Answer jobs within the limits, in a process that ends here."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (BASE_BYTES + max_bytes,) * 2)
        with socket.socket(fileno=descriptor) as connection:
            while descriptors := socket.recv_fds(connection, 1, 1)[1]:
                _answer(connection, descriptors[0])
    except (MemoryError, ConnectionError):
        os._exit(1)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _answer(connection: socket.socket, job: int) -> None:
    """Decode the images in the file `job`, up to the first that is damaged, within the job's computing time."""
    with os.fdopen(job, "rb") as file:
        file.seek(0)
        structures, shape, seconds = pickle.load(file)  # noqa: S301 - written by the worker
    signal.setitimer(signal.ITIMER_PROF, seconds)  # the kernel ends the process then, whatever code is running
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    for structure in structures:
        kind, content = _render(structure, shape)
        connection.sendall(ANSWER.pack(kind, len(content)) + content)
        if kind == MESSAGE:
            break
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _render(structure: Structure, shape: tuple[int, ...]) -> tuple[int, bytes]:
    """The pixels, or the reason why there are none."""
    try:
        return PIXELS, image.render(structure, shape).tobytes()
    except InputError as error:
        return MESSAGE, str(error).encode("utf-8", "backslashreplace")


if __name__ == "__main__":
    main()
