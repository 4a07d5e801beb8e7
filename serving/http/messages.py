"""One HTTP request and its answer, directly on ASGI: what a request costs beyond the model is decided here."""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from serving.errors import RequestError, invalid, overloaded, too_large
from serving.monitoring.observation import Observation
from serving.scheduling.load_estimate import LoadEstimate

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
REQUEST_ID = re.compile(rb"[\w.:-]{1,128}")
LINGER_SECONDS = 5.0
LINGER_PAUSE = 0.001  # seconds between two pieces: 100 MB that nobody wants are read slowly, as others are waiting


class MemoryBudget:
    """Bytes of memory still `available` in one worker for request bodies that arrive in several chunks."""

    def __init__(self, available: int) -> None:
        self.available = available

    def take(self, size: int) -> None:
        """Reserve `size` bytes. Raises RequestError (503) if fewer are available."""
        if size > self.available:
            raise overloaded("too many large requests are under way; try again in a second")
        self.available -= size


class Request:
    """One request. `limit` is the largest body in bytes; `observed` is what a model answered, where one did.

    `load` counts the request from the arrival of its last byte until `done`; chunked bodies count in `memory_budget`.
    """

    def __init__(self, scope: Scope, receive: Receive, limit: int) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.scope = scope
        self.receive = receive
        self.unread = True
        self.observed: Observation | None = None
        self.load: LoadEstimate | None = None
        self.memory_budget: MemoryBudget | None = None
        self._whole = False
        self._taken = 0
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self._limit = limit

    def header(self, name: bytes) -> bytes:
        """The header of this name (in small letters), or nothing."""
        return self._headers.get(name, b"")

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in small letters."""
        return self.header(b"content-type").split(b";", 1)[0].strip().lower().decode("latin-1")

    @property
    def query(self) -> dict[str, str]:
        """The query string. Raises RequestError where a name comes twice."""
        pairs = parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        found = dict(pairs)
        if len(found) != len(pairs):
            raise invalid("the query names a parameter twice")
        return found

    def check_size(self) -> None:
        """Raise RequestError (413) where the body is said to be larger than the limit: nothing of it is read."""
        declared = self.header(b"content-length")
        if declared and not (declared.isdigit() and len(declared) <= 18 and int(declared) <= self._limit):
            raise too_large(f"the body has {declared.decode()[:30]} bytes; at most {self._limit} are read")

    async def body(self) -> bytes:
        """The whole body. Raises RequestError (413) before more than the limit is held."""
        if self.header(b"content-encoding") not in (b"", b"identity"):
            raise RequestError(415, "media_type", "the body is compressed; send it as it is")
        first, more = await self._chunk()
        if not more:
            return self._within(first)
        collected = bytearray(first)
        while more:
            chunk, more = await self._chunk()
            self._take(len(chunk))
            collected += self._within(chunk, len(collected))
        return bytes(collected)

    def done(self) -> None:
        """It is answered, or refused; what comes now is not counted."""
        if self.load and self._whole:
            self.load.answered()
        if self.memory_budget:
            self.memory_budget.available += self._taken
        self.load = self.memory_budget = None

    async def linger(self) -> None:
        """Read on and forget, for a moment: a client that is still sending would never see its refusal."""
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while self.unread:
                    await self._chunk()
                    await asyncio.sleep(LINGER_PAUSE)
        except (TimeoutError, RequestError):
            return

    async def _chunk(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether more follows."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            self.unread = False
            raise RequestError(400, "disconnected", "the client went away")
        self.unread = bool(message.get("more_body", False))
        if self.load and not self.unread:
            self._whole = True
            self.load.arrived()
        return message.get("body", b""), self.unread

    def _take(self, size: int) -> None:
        """Note so many bytes more of the body."""
        if self.memory_budget:
            self.memory_budget.take(size)
            self._taken += size

    def _within(self, chunk: bytes, before: int = 0) -> bytes:
        """The chunk, unless it passes the limit: a chunked body does not say its length."""
        if before + len(chunk) > self._limit:
            raise too_large(f"the body is larger than {self._limit} bytes")
        return chunk


@dataclass(slots=True)
class Response:
    """One answer, complete."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: Headers = ()

    async def send(self, send: Send, headers: Headers, request: Request) -> None:
        """Send it with further headers; where the request's body is unread, listen to its end first."""
        length = (b"content-length", str(len(self.body)).encode())
        every = [(b"content-type", self.content_type), length, *self.headers, *headers]
        await send({"type": "http.response.start", "status": self.status, "headers": every})
        linger = request.unread and self.status in (408, 413)
        await send({"type": "http.response.body", "body": self.body, "more_body": linger})
        if linger:
            await request.linger()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
