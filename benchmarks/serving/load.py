"""The client: one process, many connections, each with one request in progress. Sockets without a framework.

Its own CPU time is reported too, because it runs on the servers' cores.
"""

import gc
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Read = Callable[[bytes], np.ndarray]

CHECK_EVERY = 50  # answers, of which one is compared number by number
TOLERANCE = 1e-4
PATIENCE_SECONDS = 10.0
HOST = "127.0.0.1"
REFUSED = (b"HTTP/1.1 429", b"HTTP/1.1 503")
RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """Requests to a server: complete HTTP `requests`, sent in turn; `expected` [R, n, K] are their outputs.

    It ends after `seconds` or, if given, after `most` requests. Of answers in the first `warm_seconds` only errors
    count.
    """

    port: int
    requests: tuple[bytes, ...]
    expected: np.ndarray
    read: Read
    connections: int
    seconds: float
    warm_seconds: float = 0.2
    most: int = 1_000_000


@dataclass(frozen=True)
class Measured:
    """`per_second`, `p50_ms` and `p99_ms` without the warm-up; `answered` and `client_seconds` (of CPU) with it.

    Rejections due to load (429, 503) are not errors here; their latency is measured separately.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    answered: int
    checked: int
    errors: int
    client_seconds: float
    first_error: str = ""
    refused: int = 0
    refused_p99_ms: float = 0.0


@dataclass(slots=True)
class Connection:
    """One connection, the request in progress, and the received part of its answer."""

    socket: socket.socket
    request: int
    sent: float = 0.0
    answer: bytes = b""


@dataclass
class Tally:
    """Counts so far. `latencies`, in seconds, are those of requests sent after `since`."""

    since: float
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    answered: int = 0
    checked: int = 0
    errors: int = 0
    first_error: str = ""

    def fail(self, what: str) -> None:
        """Count an error, and keep the first."""
        self.errors += 1
        self.first_error = self.first_error or what


def measure(job: Job) -> Measured:
    """Run the job. A server that does not respond is counted as errors."""
    gc.collect()
    gc.disable()
    cpu = time.process_time()
    started = time.perf_counter()
    tally = Tally(started + job.warm_seconds)
    with selectors.DefaultSelector() as selector:
        for number in range(job.connections):
            _connect(selector, job, tally, number)
        _turn(selector, job, tally, started + job.warm_seconds + job.seconds)
        counted = time.perf_counter() - tally.since
        _finish(selector, job, tally)
    gc.enable()
    return _sum_up(tally, min(counted, job.seconds), time.process_time() - cpu)


def _sum_up(tally: Tally, seconds: float, client_seconds: float) -> Measured:
    latencies = np.array(tally.latencies or [np.nan])
    p50, p99 = (np.percentile(latencies, (50, 99)) * 1e3).tolist()
    per_second = len(tally.latencies) / seconds if seconds > 0 else 0.0
    refused_p99 = float(np.percentile(tally.refusals or [0.0], 99) * 1e3)
    return Measured(
        per_second,
        p50,
        p99,
        tally.answered,
        tally.checked,
        tally.errors,
        client_seconds,
        tally.first_error,
        len(tally.refusals),
        refused_p99,
    )


def _connect(selector: selectors.BaseSelector, job: Job, tally: Tally, number: int) -> None:
    """Open one connection and send its first request."""
    try:
        opened = socket.create_connection((HOST, job.port), PATIENCE_SECONDS)
    except OSError as error:
        tally.fail(f"no connection: {error}")
        return
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = Connection(opened, number % len(job.requests))
    selector.register(opened, selectors.EVENT_READ, connection)
    _send(connection, job)


def _send(connection: Connection, job: Job) -> None:
    """Send the connection's request; blocks if it does not fit into the socket's buffers."""
    connection.answer = b""
    connection.sent = time.perf_counter()
    connection.socket.sendall(job.requests[connection.request])


def _turn(selector: selectors.BaseSelector, job: Job, tally: Tally, until: float) -> None:
    """Send the next request after each answer, until the time or the number of requests is reached.

    A rejected request is repeated after RETRY_SECONDS, as `Retry-After` says.
    """
    resting: deque[Connection] = deque()
    while time.perf_counter() < until and tally.answered + tally.errors < job.most:
        for key, _ in selector.select(0.01 if resting else 0.1):
            connection: Connection = key.data
            if _receive(selector, connection, job, tally):
                connection.request = (connection.request + 1) % len(job.requests)
                if connection.answer.startswith(REFUSED):
                    connection.sent = time.perf_counter()
                    resting.append(connection)
                else:
                    _send(connection, job)
        while resting and time.perf_counter() - resting[0].sent > RETRY_SECONDS:
            _send(resting.popleft(), job)
    for connection in resting:
        selector.unregister(connection.socket)
        connection.socket.close()


def _finish(selector: selectors.BaseSelector, job: Job, tally: Tally) -> None:
    """Wait for the requests in progress, count only their errors, and close."""
    kept = len(tally.latencies)
    until = time.perf_counter() + PATIENCE_SECONDS
    while selector.get_map() and time.perf_counter() < until:
        for key, _ in selector.select(0.1):
            if _receive(selector, key.data, job, tally):
                selector.unregister(key.fileobj)
                key.data.socket.close()
    for key in list(selector.get_map().values()):
        tally.fail("no answer")
        key.data.socket.close()
    del tally.latencies[kept:]


def _receive(selector: selectors.BaseSelector, connection: Connection, job: Job, tally: Tally) -> bool:
    """Read the received bytes; true once the answer is complete."""
    try:
        chunk = connection.socket.recv(262_144)
    except OSError:
        chunk = b""
    if not chunk:
        _reconnect(selector, connection, job, tally)
        return False
    connection.answer = connection.answer + chunk if connection.answer else chunk
    head = connection.answer.find(b"\r\n\r\n")
    if head < 0 or not _whole(connection.answer, head):
        return False
    seconds = time.perf_counter() - connection.sent
    if connection.answer.startswith(REFUSED):
        if connection.sent >= tally.since:
            tally.refusals.append(seconds)
        return True
    if connection.sent >= tally.since:
        tally.latencies.append(seconds)
    _check(connection.answer, head, connection.request, job, tally)
    return True


def _reconnect(selector: selectors.BaseSelector, connection: Connection, job: Job, tally: Tally) -> None:
    """Count a closed connection and open another one, unless there were too many errors."""
    tally.fail("the connection was closed")
    selector.unregister(connection.socket)
    connection.socket.close()
    if tally.errors <= job.connections:
        _connect(selector, job, tally, connection.request)


def _whole(answer: bytes, head: int) -> bool:
    """True if the body is complete: by its length, or by the last chunk."""
    header = answer[:head].lower()
    at = header.find(b"\r\ncontent-length:")
    if at < 0:
        return answer.endswith(b"0\r\n\r\n") and b"chunked" in header
    end = header.find(b"\r\n", at + 17)
    length = int(header[at + 17 : end if end > 0 else head])
    return len(answer) >= head + 4 + length


def _check(answer: bytes, head: int, request: int, job: Job, tally: Tally) -> None:
    """Check the status of every answer and the numbers of some."""
    tally.answered += 1
    if not answer.startswith(b"HTTP/1.1 200"):
        tally.fail(answer[:300].decode("latin-1"))
    elif tally.answered % CHECK_EVERY == 1:
        tally.checked += 1
        body = answer[head + 4 :]
        found = job.read(_unchunked(body) if b"chunked" in answer[:head].lower() else body)
        expected = job.expected[request]
        if found.size != expected.size or np.abs(found.reshape(expected.shape) - expected).max() > TOLERANCE:
            tally.fail("wrong numbers")


def _unchunked(body: bytes) -> bytes:
    """The body without chunk sizes (RFC 9112, section 7.1)."""
    whole = b""
    while body:
        line, _, rest = body.partition(b"\r\n")
        size = int(line, 16)
        whole += rest[:size]
        body = rest[size + 2 :]
        if not size:
            break
    return whole
