"""Decodes images in child processes; started by `image_decoder` with the memory that each may use, in bytes.

Standard input is a Unix socket. For each socket received over it a child is forked, which reads one job from that
socket and answers it. The process has a single thread, has imported the decoder, and is the leader of a session. It
ends with all its children when standard input is closed.
"""

import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import traceback
from multiprocessing.connection import Connection

from models import image
from models.errors import InputError
from models.image_structure import Structure

PIXELS, MESSAGE = b"\0", b"\1"  # first byte of an answer
BASE_BYTES = 1 << 27  # of address space; the interpreter and its libraries take 110 MB
WALL_SECONDS = 60.0  # longer than any request waits: a child may have to wait for a core
NICENESS = 10


def main() -> None:
    """Fork a child for each socket received, until the other side is closed."""
    max_bytes = int(sys.argv[1])
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    gc.freeze()
    with socket.socket(fileno=0) as control:
        while descriptors := socket.recv_fds(control, 1, 1)[1]:
            if os.fork() == 0:
                control.close()
                _answer(descriptors[0], max_bytes)
            os.close(descriptors[0])
    os.killpg(os.getpid(), signal.SIGKILL)


def _answer(descriptor: int, max_bytes: int) -> None:
    """Decode one job's images within its limits, in a child that ends here."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (BASE_BYTES + max_bytes,) * 2)
        signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
        with Connection(descriptor) as connection:
            structures, shape, seconds = connection.recv()
            signal.setitimer(signal.ITIMER_PROF, seconds)  # the signal ends the process, whatever code is running
            for structure in structures:
                connection.send_bytes(_render(structure, shape))
    except (MemoryError, BrokenPipeError, ConnectionResetError):
        os._exit(1)
    except BaseException:
        with contextlib.suppress(OSError):
            traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _render(structure: Structure, shape: tuple[int, ...]) -> bytes:
    """The pixels, or the reason why there are none."""
    try:
        return PIXELS + image.render(structure, shape).tobytes()
    except InputError as error:
        return MESSAGE + str(error).encode("utf-8", "backslashreplace")


if __name__ == "__main__":
    main()
