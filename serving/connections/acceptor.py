"""Distributes new connections evenly over the workers, which share one listening socket.

A worker that holds more connections than another one leaves a waiting connection to it for up to `MAX_PAUSES` pauses: a
limit in seconds would end while the other one waits for a core. Once connections have waited for `UNUSED_SECONDS`, the
others accept none, as one that was just killed, and nothing more is left to them.

Measured with 32 connections opened at once, two workers on two busy cores, 20 runs; the largest number that one
worker held, and the median time until the last of the 32 had its first answer:

| way of accepting | largest number | time |
|---|---|---|
| `create_server` of uvloop (one connection per turn of the loop) | 16 to 32, 32 in 9 runs | 4 ms |
| `create_server` of asyncio (up to the backlog per turn) | 20 to 32, 32 in 13 runs | 5 ms |
| one socket per worker (`SO_REUSEPORT`) | 16 to 20 | 3 ms |
| a pause of 1 ms per open connection after each | 16 or 17 | 136 ms |
| comparison of the workers' counts, as here | 16 to 18 | 11 ms |

`SO_REUSEPORT` assigns by a hash of the addresses: more than 22 of 32 have a probability of 2 % per run, and the
connections that wait in the queue of a worker are lost when it ends. With one shared socket they wait for any worker.
"""

import asyncio
import contextlib
import logging
import selectors
import socket
import time
from collections.abc import Awaitable, Callable

from serving.connections.shared_counts import SharedCounts

PAUSE_SECONDS = 0.001  # in which a connection is left to a worker that holds fewer, or a turn of a busy event loop
MAX_PAUSES = 5
UNUSED_SECONDS = 0.05
SLACK = 1  # connections by which a worker may exceed another one; more of them save a few milliseconds
SLACK_SHARE = 1 / 16  # of the other one's connections, by which it may exceed it further: else few are accepted at once
FULL_SECONDS = 0.01  # pause of a worker that holds as many as it may
EXHAUSTED_SECONDS = 1.0  # pause after a failure of `accept`, as when the process has no file descriptor left
MAX_ACCEPTED = 64  # per turn of the event loop, which lasts as long as all requests that have arrived
UNSENT_BYTES = 131_072  # that the kernel keeps of a response; without a limit it is megabytes per connection
log = logging.getLogger("bentoml.tandem")


class Acceptor:
    """Accepts from `listener`, up to MAX_ACCEPTED connections per turn of the event loop, and passes each to `connect`.

    `held` returns the number of connections that this worker holds; with `limit` of them it accepts none.
    """

    def __init__(
        self,
        listener: socket.socket,
        connect: Callable[[socket.socket], Awaitable[None]],
        held: Callable[[], int],
        limit: int,
        counts: SharedCounts,
    ) -> None:
        self._listener = listener
        self._connect = connect
        self._held = held
        self._limit = limit
        self._counts = counts
        self._pauses = 0  # for the connection that is left to others
        self._left_since = 0.0  # when connections began to be left to others; 0 while none is
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(listener, selectors.EVENT_READ)
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Future[None]] = set()
        listener.setblocking(False)
        self._resume()

    @property
    def connecting(self) -> int:
        """Accepted connections whose TLS handshake is not finished."""
        return len(self._tasks)

    async def close(self) -> None:
        """Accept no more; those that were accepted are passed on first."""
        if self._timer:
            self._timer.cancel()
        self._loop.remove_reader(self._listener)
        self._waiting.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)

    def _resume(self) -> None:
        self._timer = None
        self._check_waiting()
        self._loop.add_reader(self._listener, self._accept)

    def _pause(self, seconds: float) -> None:
        """Watch the listening socket again after `seconds`: a connection that waits would wake the loop at once."""
        self._loop.remove_reader(self._listener)
        self._timer = self._loop.call_later(seconds, self._resume)

    def _accept(self) -> None:
        if self._held() >= self._limit:
            self._pause(FULL_SECONDS)
        elif self._leave_to_others():
            self._pause(PAUSE_SECONDS)
        else:
            self._accept_waiting()
            self._check_waiting()

    def _leave_to_others(self) -> bool:
        """True while another worker holds fewer connections, unless it does not accept them."""
        if not self._exceeds_others():
            self._leave_nothing()
            return False
        self._left_since = self._left_since or time.monotonic()
        if self._pauses >= MAX_PAUSES or self._are_unused():
            self._pauses = 0
            return False
        self._pauses += 1
        return True

    def _leave_nothing(self) -> None:
        self._pauses, self._left_since = 0, 0.0

    def _check_waiting(self) -> None:
        """Begin anew if no connection waits: what was left to others is accepted."""
        if self._left_since and not self._waiting.select(0):
            self._leave_nothing()

    def _are_unused(self) -> bool:
        """True if connections that were left to others have waited too long."""
        return bool(self._left_since) and time.monotonic() - self._left_since > UNUSED_SECONDS

    def _exceeds_others(self) -> bool:
        """True if another worker holds fewer connections by more than the slack."""
        fewest = self._counts.fewest()
        return fewest is not None and self._held() > fewest + SLACK + int(fewest * SLACK_SHARE)

    def _accept_waiting(self) -> None:
        """Accept one connection, and further ones that wait as long as none is to be left to others."""
        for _ in range(MAX_ACCEPTED):
            if not self._accept_one() or self._held() >= self._limit:
                break
            if self._exceeds_others() and not self._are_unused():
                break

    def _accept_one(self) -> bool:
        """False if no further connection can be accepted now."""
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # none waits, or another worker was faster
            return False
        except OSError as error:
            log.error("cannot accept connections for %s s: %s", EXHAUSTED_SECONDS, error)
            self._pause(EXHAUSTED_SECONDS)
            return False
        accepted.setblocking(False)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):  # not a TCP socket
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        task = asyncio.ensure_future(self._connect(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._connected)
        self._counts.set(self._held())
        return True

    def _connected(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        self._counts.set(self._held())
