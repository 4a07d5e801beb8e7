"""uvicorn's server with this package's connections, accepted evenly over the workers.

BentoML's worker makes a `uvicorn.Server` and has no setting for another one, nor for its protocol.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol, cast

import uvicorn

from serving.connections.acceptor import Acceptor
from serving.connections.protocol import Connection, Headers, Shared
from serving.connections.shared_counts import SharedCounts
from serving.settings import Settings

WATCH_SECONDS = 0.25  # between two checks of all connections: the precision of their time limits
SURPLUS = 64  # connections beyond the limit that are accepted for a probe, or to be refused; more wait in the queue
MAX_UNSENT_BYTES = 67_108_864  # of responses that clients have not read, in a worker
SILENT = (
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
    "No supported WebSocket library",
    "ASGI callable returned without completing response.",  # to a client that reads a large one too slowly
)
log = logging.getLogger("bentoml.tandem")


class Companion(Protocol):
    """A server of another protocol in the same worker, at the same host and with the same certificate."""

    async def start(self, host: str, config: uvicorn.Config) -> None:
        """Accept connections."""

    async def stop(self) -> None:
        """Accept no more, and finish the requests in progress."""


class Server(uvicorn.Server):
    """Serves `settings.max_connections` connections at a time.

    `rejected` counts refusals by reason, `cors` returns their headers for an origin, and `is_probe` whether a method
    and a path are those of a probe, which is answered beyond that limit.

    The `first` of the workers warns where the address that all share is public and needs a key. `companion` is started
    and stopped together with this server. `stopping` is called before anything else is stopped.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        counts: SharedCounts,
        rejected: Callable[[str], None],
        cors: Callable[[bytes], Headers],
        is_probe: Callable[[str, str], bool],
        first: bool = True,
        companion: Companion | None = None,
        stopping: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        config.proxy_headers = False  # the application uses neither the client's address nor the scheme
        self._companion = companion
        self._stopping = stopping
        self._first = first
        self._settings = settings
        self._counts = counts
        self._shared = Shared(settings, rejected, self._count, cors, is_probe)
        self._acceptors: list[Acceptor] = []
        self._watcher: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections from `sockets`."""
        self.config.ws_protocol_class = None  # a WebSocket would be outside the limits, and the service has none
        await super().startup(sockets=[])
        self._watcher = asyncio.create_task(self._watch())
        if self._companion and sockets:
            await self._companion.start(sockets[0].getsockname()[0], self.config)
        limit = self._settings.max_connections + SURPLUS
        for listener in sockets or []:
            if self._first:
                _warn_without_key(listener, self._settings)
            self._acceptors.append(Acceptor(listener, self._connect, self._held, limit, self._counts))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, finish the requests in progress, and end the application."""
        self._stopping()
        self._counts.leave()
        for acceptor in self._acceptors:
            await acceptor.close()
        if self._companion:
            for connection in list(self.server_state.connections):
                connection.shutdown()  # not after the calls in progress, which may take long
            await self._companion.stop()
        await super().shutdown(sockets)
        if self._watcher:
            self._watcher.cancel()

    def _held(self) -> int:
        return len(self.server_state.connections) + sum(acceptor.connecting for acceptor in self._acceptors)

    def _count(self) -> None:
        self._counts.set(self._held())

    async def _connect(self, accepted: socket.socket) -> None:
        """Make a connection of a socket. A failed TLS handshake, or a client that has left, needs no message."""
        timeout = self._settings.header_timeout_seconds if self.config.ssl else None
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connection, accepted, ssl=self.config.ssl, ssl_handshake_timeout=timeout
            )

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state, self._shared)

    async def _watch(self) -> None:
        """Show the other workers that this one is alive, and close connections whose clients are late."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._check(loop.time())
            except Exception:
                log.exception("a check of all connections failed; the next one follows in %s s", WATCH_SECONDS)
            await asyncio.sleep(WATCH_SECONDS)

    def _check(self, now: float) -> None:
        if not self.should_exit:
            self._counts.renew()
        connections = cast(list[Connection], list(self.server_state.connections))
        for connection in connections:
            _expire(connection, now)
        _limit_unsent(connections, MAX_UNSENT_BYTES)


def _warn_without_key(listener: socket.socket, settings: Settings) -> None:
    """Warn where other machines can reach the service and no key protects it."""
    host, port = listener.getsockname()[:2]
    has_keys = settings.api_key or settings.api_keys_file
    if not has_keys and not ipaddress.ip_address(host).is_loopback:
        log.warning("listening on %s:%d without TANDEM_API_KEY: whoever reaches this address can use it", host, port)


def _expire(connection: Connection, now: float) -> None:
    """Close a connection whose client is late, or whose check fails: without it, the others have no time limits."""
    try:
        connection.expire(now)
    except Exception:
        log.exception("a connection whose time limits cannot be checked is closed")
        connection.transport.abort()


def _limit_unsent(connections: list[Connection], most: int) -> None:
    """Close the largest of the connections whose clients do not read, until all have `most` unread bytes together."""
    excess = sum(connection.unsent for connection in connections) - most
    stuck = [connection for connection in connections if connection.is_stuck] if excess > 0 else []
    for connection in sorted(stuck, key=lambda each: each.unsent, reverse=True):
        if excess <= 0:
            break
        excess -= connection.unsent
        connection.disconnect("unread")


def _is_shown(record: logging.LogRecord) -> bool:
    """False for the messages about single requests: they are counted, and clients could fill the log with them."""
    return not record.getMessage().startswith(SILENT)


def install(
    settings: Settings,
    file: Path | None,
    workers: int,
    index: int,
    rejected: Callable[[str], None],
    cors: Callable[[bytes], Headers],
    is_probe: Callable[[str, str], bool],
    companion: Companion | None = None,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Let BentoML's worker `index` of `workers` (from 0) use `Server`; all workers share `file`."""
    logging.getLogger("uvicorn.error").addFilter(_is_shown)
    counts = SharedCounts(file, workers, index)
    options = {
        "settings": settings,
        "counts": counts,
        "rejected": rejected,
        "cors": cors,
        "is_probe": is_probe,
        "first": index == 0,
        "companion": companion,
        "stopping": stopping,
    }
    uvicorn.Server = partial(Server, **options)  # type: ignore[assignment,misc,arg-type]
