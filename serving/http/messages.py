"""HTTP requests and responses, directly on ASGI: they make up most of the cost of a request beside the model."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from serving.errors import RequestError, invalid, overloaded, too_large
from serving.monitoring.observation import Observation
from serving.scheduling.deadlines import Deadlines
from serving.scheduling.load_estimate import LoadEstimate

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
REQUEST_ID = re.compile(rb"[\w.:-]{1,128}")
CHUNK_BYTES = 1 << 16  # as much as arrives by HTTP at once
LINGER_SECONDS = 5.0
PART_BYTES = 1 << 18  # of a large response that the server is given at once
READ_SECONDS, READ_RATE = 10.0, 500_000  # a large response is read within these seconds and those at this rate, bytes/s
LINGER_PAUSE = 0.001  # seconds between two chunks, so that discarding 100 MB does not delay other requests


class MemoryBudget:
    """Bytes of memory for what large requests have beyond a chunk, or for large responses, of one worker."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.available = total

    def reserve(self, size: int) -> None:
        """Reserve `size` bytes. Raises RequestError (503) if fewer are available."""
        if size > self.available:
            raise overloaded("too many large requests are in progress; try again in a second")
        self.available -= size

    def release(self, size: int) -> None:
        """Release `size` bytes that were reserved."""
        self.available += size


class Request:
    """One request. `limit` is the largest body in bytes; `observed` is set where a model has answered, `key_name`
    where the API key has a name.

    `load` counts the request from the arrival of its last byte until `close`; what a body has beyond a chunk counts in
    `memory_budget`.
    """

    unread = True
    key_name = ""
    observed: Observation | None = None
    load: LoadEstimate | None = None
    memory_budget: MemoryBudget | None = None
    deadlines: Deadlines | None = None
    _complete = False
    _reserved = 0
    _response_memory: tuple[MemoryBudget, int] | None = None

    def __init__(self, scope: Scope, receive: Receive, limit: int) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.scope = scope
        self.receive = receive
        self._actions: list[Callable[[], None]] = []
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        if len(self._headers) != len(scope["headers"]):
            self._headers = _combined(scope["headers"])
        self._limit = limit

    def header(self, name: bytes) -> bytes:
        """The header of this lower-case name, or nothing; the values of a repeated one are separated by commas."""
        return self._headers.get(name, b"")

    @property
    def text_headers(self) -> dict[str, str]:
        """All headers by lower-case name."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers.items()}

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.header(b"content-type").split(b";", 1)[0].strip().lower().decode("latin-1")

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query string. Raises RequestError if a name is repeated."""
        if not self.scope["query_string"]:
            return {}
        pairs = parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        parameters = dict(pairs)
        if len(parameters) != len(pairs):
            raise invalid("the query names a parameter twice")
        return parameters

    def check_size(self) -> None:
        """Raise RequestError (413) if the declared size of the body exceeds the limit: nothing of it is read."""
        declared = self.header(b"content-length")
        if declared and not (declared.isdigit() and len(declared) <= 18 and int(declared) <= self._limit):
            raise too_large(f"the body has {declared[:30].decode('latin-1')} bytes; at most {self._limit} are read")

    async def body(self) -> bytes:
        """The complete body. Raises RequestError (413) before more than the limit is in memory."""
        if (coding := self.header(b"content-encoding")) and coding.strip().lower() != b"identity":
            raise RequestError(415, "media_type", "the body is compressed; send it as it is")
        first, more = await self._chunk()
        if not more and len(first) <= CHUNK_BYTES:
            return self._check_chunk(first)
        self._reserve_body(0, len(first))
        if not more:
            return self._check_chunk(first)
        collected = bytearray(first)
        while more:
            chunk, more = await self._chunk()
            self._reserve_body(len(collected), len(chunk))
            collected += self._check_chunk(chunk, len(collected))
        return bytes(collected)

    def close(self) -> None:
        """Release what the request counts in: it is answered or rejected."""
        if self.load and self._complete:
            self.load.answered()
        if self.memory_budget:
            self.memory_budget.release(self._reserved)
        self.load = self.memory_budget = None
        for action in self._actions:
            action()
        self._actions.clear()

    def leave_load(self) -> None:
        """Count the request in `load` no longer."""
        if self.load and self._complete:
            self.load.in_flight -= 1
        self.load = None

    def wait_for_turn(self) -> None:
        """A large request waits for others of its kind: the others do not wait for it, and it has more time."""
        self.leave_load()
        if self.deadlines:
            self.deadlines.extend()

    def on_close(self, action: Callable[[], None]) -> None:
        """Call `action` when the request is closed."""
        self._actions.append(action)

    def reserve(self, size: int) -> None:
        """Reserve memory until the request is closed. Raises RequestError (503) if there is not enough."""
        if self.memory_budget:
            self.memory_budget.reserve(size)
            self._reserved += size

    def _reserve_body(self, before: int, size: int) -> None:
        """Reserve memory for a part of a body, so many bytes after its begin; small bodies need none."""
        self.reserve(max(0, size - max(0, CHUNK_BYTES - before)))

    def reserve_response(self, budget: MemoryBudget, size: int) -> None:
        """Reserve memory until the response is sent: by gRPC until the call ends, as nothing else shows it.

        Raises RequestError (503) if there is not enough.
        """
        budget.reserve(size)
        if at_end := self.scope.get("at_end"):
            at_end(lambda _: budget.release(size))  # a call can be cancelled at any time
        else:
            self._response_memory = budget, size

    def release_response(self) -> None:
        """Release the memory of the response, which is sent."""
        if self._response_memory:
            budget, size = self._response_memory
            self._response_memory = None
            budget.release(size)

    async def linger(self) -> None:
        """Discard the rest of the body for a few seconds: a client that still sends does not read the response."""
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while self.unread:
                    await self._chunk()
                    await asyncio.sleep(LINGER_PAUSE)
        except (TimeoutError, RequestError):
            return

    async def _chunk(self) -> tuple[bytes, bool]:
        """The next chunk of the body; the flag is true if more follow."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            self.unread = False
            raise RequestError(400, "disconnected", "the client disconnected")
        self.unread = bool(message.get("more_body", False))
        if self.load and not self.unread:
            self._complete = True
            self.load.arrived()
        return message.get("body", b""), self.unread

    def _check_chunk(self, chunk: bytes, before: int = 0) -> bytes:
        """The chunk. Raises RequestError (413) if it exceeds the limit: a chunked body does not declare its size."""
        if before + len(chunk) > self._limit:
            raise too_large(f"the body is larger than {self._limit} bytes")
        return chunk


def _combined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers by name, the values of a repeated one separated by commas (RFC 9110, section 5.3)."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return {name: b", ".join(values) for name, values in found.items()}


@dataclass(slots=True)
class Response:
    """One complete response."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: Headers = ()

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body)

    async def send(self, send: Send, headers: Headers, request: Request) -> None:
        """Send it with further headers; after a rejection, discard the unread rest of the request's body."""
        length = (b"content-length", str(len(self.body)).encode())
        fields = [(b"content-type", self.content_type), length, *self.headers, *headers]
        await send({"type": "http.response.start", "status": self.status, "headers": fields})
        linger = request.unread and self.status in (408, 413)
        await send({"type": "http.response.body", "body": self.body, "more_body": linger})
        if linger:
            await request.linger()
            await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(slots=True)
class LargeResponse(Response):
    """A complete response that is sent in `parts`, after `body`, as fast as its client reads them."""

    parts: Sequence[bytes] = ()

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) + sum(map(len, self.parts))

    async def send(self, send: Send, headers: Headers, request: Request) -> None:  # noqa: ARG002
        """Send it with further headers. Raises TimeoutError for a client that reads too slowly."""
        length = (b"content-length", str(self.size).encode())
        fields = [(b"content-type", self.content_type), length, *self.headers, *headers]
        async with asyncio.timeout(READ_SECONDS + self.size / READ_RATE):
            await send({"type": "http.response.start", "status": self.status, "headers": fields})
            for part in (self.body, *self.parts):
                for start in range(0, len(part), PART_BYTES):
                    piece = memoryview(part)[start : start + PART_BYTES]
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
