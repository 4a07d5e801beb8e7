"""One HTTP/1.1 connection with limits for headers, URL, silence and clients that do not read.

uvicorn's httptools protocol has none of these. Its parser is kept; this class counts what the parser has been given
without a result, and answers the refusals itself: no such request reaches the application.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools
import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.connections.cycle import Cycle
from serving.errors import RequestError
from serving.settings import Settings

Headers = tuple[tuple[bytes, bytes], ...]
LINGER_SECONDS = 2.0  # after a refusal, for a client that is still sending and reads afterwards
LINGER_PAUSE = 0.001  # seconds between two reads of discarded bytes
SURPLUS_SECONDS = 1.0  # for the request of a connection beyond the limit, which is refused then
UPGRADE_HEADERS = {b"upgrade", b"connection", b"http2-settings"}
MAX_CACHED_URL = 256  # bytes
MAX_PIPELINED = 64  # requests that a client sent before the first of them was answered


@dataclass(frozen=True)
class Shared:
    """What the connections of a worker share: limits, the counter of refusals, a call when one opens or closes.

    `cors` returns the headers of a refusal for an origin, `is_probe` whether a method and a path are those of a probe.
    """

    settings: Settings
    rejected: Callable[[str], None]
    changed: Callable[[], None]
    cors: Callable[[bytes], Headers] = lambda _: ()
    is_probe: Callable[[str, str], bool] = lambda _method, _path: False


class Connection(HttpToolsProtocol):
    """One connection; `expire` closes it when its client is late.

    The parser keeps at most twice `max_header_bytes` of what is neither a body nor a complete request.
    """

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], shared: Shared) -> None:
        super().__init__(config, server_state, app_state)
        self.url = b""
        self._shared = shared
        self._settings = shared.settings
        self._max_header_bytes = shared.settings.max_header_bytes
        self._unparsed = 0  # bytes given to the parser since the last part of a body or the end of a message
        self._received: bytes | memoryview = b""  # what the parser is being given
        self._in_body = False  # the headers are complete, the message is not
        self._waiting_since = 0.0  # when the client began to owe a request; 0 while it owes none
        self._idle_since = 0.0  # when the last request was answered; 0 unless none has followed
        self._answered = self.cycle  # the request that is being answered; the pipeline has those that wait
        self._error: RequestError | None = None
        self._refused_at = 0.0  # 0 unless the connection was refused, or will be unless its request is a probe
        self._refusal = b""  # a response that follows those to earlier requests
        self._is_surplus = False  # it is beyond the limit and has sent nothing yet
        self.is_stuck = False  # nothing was sent since the last check though there is something to send
        self._unsent = 0
        self._unsent_since = 0.0

    @property
    def _asks_for_upgrade(self) -> bool:
        """The parser takes the request for one without a body, as the client asks for another protocol."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    @property
    def _busy(self) -> bool:
        """A request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        """Accept nothing but a probe where the worker holds too many."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        self._shared.changed()
        if len(self.connections) > self._settings.max_connections:
            self._is_surplus = True
            self._refused_at = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the connection no longer."""
        super().connection_lost(exc)
        self._shared.changed()

    def data_received(self, data: bytes) -> None:
        """Parse in pieces no larger than the headers may be: so much is kept before the next check."""
        if self._refused_at:
            if self._is_surplus:
                self._answer_surplus(data)
            else:
                self._discard()
        elif len(data) <= self._max_header_bytes:
            self._parse(data)
        else:
            self._parse_pieces(memoryview(data))

    def _answer_surplus(self, data: bytes) -> None:
        """Answer a probe whose headers arrive at once, and close; refuse other requests (503)."""
        self._is_surplus = False
        if len(data) <= self._max_header_bytes and _is_head(data, self._shared.is_probe):
            self._refused_at = 0.0
            self.app = partial(_answer_once, self.app)
            self.data_received(data)
        else:
            self._refuse_surplus()

    def _refuse_surplus(self) -> None:
        message = "too many connections; try again in a second"
        self._refuse(RequestError(503, "connections", message, ((b"retry-after", b"1"),)))

    def _parse_pieces(self, rest: memoryview) -> None:
        while rest and not self._refused_at and not self.transport.is_closing():
            self._parse(rest[: self._max_header_bytes])
            rest = rest[self._max_header_bytes :]

    def _parse(self, data: bytes | memoryview) -> None:
        self._unparsed += len(data)
        self._idle_since = 0.0
        self._received = data
        super().data_received(data)  # type: ignore[arg-type]
        self._received = b""  # a view of it would keep all that was read alive while the connection is idle
        if self._unparsed > self._max_header_bytes and not self._refused_at:
            self._refuse(self._too_large())
        if not (self._waiting_since or self._busy):
            self._waiting_since = self.loop.time()

    def _unsupported_upgrade_warning(self) -> None:
        """Parse the request again without its `Upgrade`, which a server may ignore (RFC 9110, section 7.8).

        Java's HttpClient sends `Upgrade: h2c` by default. httptools takes such a request for one without a body.
        """
        upgrade = sys.exc_info()[1]
        if not self._asks_for_upgrade or not isinstance(upgrade, httptools.HttpParserUpgrade):
            super()._unsupported_upgrade_warning()
            return
        start_line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        rest = self._received[upgrade.args[0] :]
        self._received = _head(start_line, self.headers) + rest
        self.parser = httptools.HttpRequestParser(self)
        super().data_received(self._received)

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the headers exceed a limit."""
        if self._asks_for_upgrade:
            return  # `_unsupported_upgrade_warning` follows
        self._in_body = True
        self._waiting_since = 0.0
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.abort()  # an answer now would be taken for that to an earlier request
            self._shared.rejected("pipelined")
            raise RequestError(400, "pipelined", "too many requests at once")
        self._error = self._too_large() if self._exceeds_limits() else self._ambiguous()
        if self._error:
            raise self._error  # ends the parser; uvicorn then calls send_400_response
        self._begin()
        self.headers = []  # of trailers, which are ignored: those of the request are in its scope

    def _begin(self) -> None:
        """Begin to answer as uvicorn does, or after earlier requests."""
        version = self.parser.get_http_version()
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        split = _split_cached if len(self.url) <= MAX_CACHED_URL else _split
        self.scope["path"], self.scope["raw_path"], self.scope["query_string"] = split(self.url)
        busy = self._busy
        self.cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if busy:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._answered = self.cycle
            self._start_asgi_task(self.cycle, self.app)

    def on_body(self, body: bytes) -> None:
        """Count from here: what the parser still keeps follows this part of the body."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Count from here: the next request follows."""
        if self._asks_for_upgrade:
            return  # `_unsupported_upgrade_warning` follows
        self._unparsed = 0
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin the next request that waits, or refuse it.

        Without one `expire` closes the connection, not a timer per response.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._answered, application = self.pipeline.pop()
            self._start_asgi_task(self._answered, application)
        elif self._refusal:
            self._send_refusal()
        else:
            self._idle_since = self.loop.time()

    def _exceeds_limits(self) -> bool:
        settings = self._settings
        if len(self.headers) > settings.max_headers or len(self.url) > settings.max_url_bytes:
            return True
        if self._unparsed <= self._max_header_bytes:
            return False  # the usual case: what has arrived, the headers and perhaps a part of the body, is smaller
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > self._max_header_bytes

    def _ambiguous(self) -> RequestError | None:
        """An error where others may see another end or another host of the request (RFC 9112, sections 3.2 and 6)."""
        names = [name for name, _ in self.headers]
        if (hosts := names.count(b"host")) != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            return RequestError(400, "malformed", f"found {hosts} headers Host; allowed: one")
        if b"transfer-encoding" in names:
            codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
            if codings != [b"chunked"] or self.parser.get_http_version() != "1.1":
                return RequestError(400, "malformed", "Transfer-Encoding: allowed: chunked, in HTTP/1.1")
        return None

    def _too_large(self) -> RequestError:
        settings = self._settings
        if len(self.url) > settings.max_url_bytes:
            return RequestError(414, "url", f"the URL is longer than {settings.max_url_bytes} bytes")
        limits = f"{settings.max_headers} headers, {settings.max_header_bytes} bytes"
        return RequestError(431, "headers", f"the headers exceed the limit: {limits}")

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, or exceeds a limit."""
        if not self.transport.is_closing():
            self._refuse(self._error or RequestError(400, "malformed", msg))

    def _refuse(self, error: RequestError) -> None:
        """Answer with an error after the responses to earlier requests, and close.

        A connection is aborted where the response to the request itself has begun.
        """
        self._refused_at = self.loop.time()
        self._shared.rejected(error.reason)
        origin = dict(self.scope["headers"] if self._in_body else self.headers or ()).get(b"origin", b"")
        self._refusal = _response(error, [*self.server_state.default_headers, *self._shared.cors(origin)])
        if not self._busy:
            self._send_refusal()
        elif self.cycle.more_body:  # the latest request is refused, whose headers are complete
            self._refuse_begun()

    def _refuse_begun(self) -> None:
        if self.pipeline:  # the refused one is the last of those that wait
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._answered
        elif self.cycle.response_started:
            self.transport.abort()  # the refusal would be taken for a part of the response
        else:
            self._send_refusal()

    def _send_refusal(self) -> None:
        """Send the refusal and close; a client that is still sending has a moment to read it."""
        self._refused_at = self.loop.time()
        self.transport.write(self._refusal)
        self._refusal = b""
        if self._busy or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()

    def _discard(self) -> None:
        """Ignore what was received, and read on after a pause: other connections are waiting."""
        self.transport.pause_reading()
        self.loop.call_later(LINGER_PAUSE, self._read_on)

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection open for the answer where the client has sent a whole request and no more follows."""
        if not self._busy or self.cycle.more_body or self.scheme == "https":
            return False
        if not self._refusal:
            self.cycle.keep_alive = False
        return True

    @property
    def unsent(self) -> int:
        """Bytes of responses that the client has not read, beyond those that the kernel keeps."""
        waiting = self.cycle.expected_content_length if self.cycle else 0  # in the application
        return self.transport.get_write_buffer_size() + waiting

    def disconnect(self, reason: str) -> None:
        """Close the connection at once."""
        self._shared.rejected(reason)
        self.transport.abort()

    def expire(self, now: float) -> None:
        """Close the connection where its client is late at `now`, a time of the event loop."""
        if self._is_surplus:
            if now - self._refused_at > SURPLUS_SECONDS:
                self._is_surplus = False
                self._refuse_surplus()
        elif self._refused_at and not self._refusal:
            if now - self._refused_at > LINGER_SECONDS:
                self.transport.abort()
        elif self._unread(now):
            self.disconnect("unread")
        elif self._overdue(now):
            self._close_overdue()
        elif self._idle_since and now - self._idle_since > self.timeout_keep_alive:
            self.transport.close()

    def _unread(self, now: float) -> bool:
        """True where the client has read nothing for too long of what it was sent."""
        unsent = self.unsent
        self.is_stuck = unsent > 0 and unsent == self._unsent
        if not self.is_stuck:
            self._unsent_since = now
        self._unsent = unsent
        return now - self._unsent_since > self._settings.write_timeout_seconds

    def _overdue(self, now: float) -> bool:
        """True where no complete request was received for too long, and none is being answered."""
        if not self._waiting_since:
            return False
        if self._busy:
            self._waiting_since = now
        return now - self._waiting_since > self._settings.header_timeout_seconds

    def _close_overdue(self) -> None:
        """Close a silent connection, or answer a part of a request."""
        if self._in_body or not self._unparsed:
            self.disconnect("silent")
        else:
            seconds = self._settings.header_timeout_seconds
            self._refuse(RequestError(408, "slow_headers", f"the headers did not arrive within {seconds} s"))


async def _answer_once(application: Any, scope: Any, receive: Any, send: Any) -> None:
    """Answer a request by the application, and close its connection (ASGI 3)."""

    async def closing(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    await application(scope, receive, closing)


def _is_head(data: bytes, matches: Callable[[str, str], bool]) -> bool:
    """True for the headers of a request whose method and path match."""
    start_line, _, rest = data.partition(b"\r\n")
    method, _, target = start_line.decode("latin-1").partition(" ")
    return b"\r\n\r\n" in rest and matches(method, target.partition(" ")[0].partition("?")[0])


def _split(url: bytes) -> tuple[str, bytes, bytes]:
    """The path, the path as it was sent, and the query. Raises HttpParserInvalidURLError."""
    parts = httptools.parse_url(url)
    return unquote(parts.path.decode("ascii")), parts.path, parts.query or b""


_split_cached = lru_cache(256)(_split)  # clients request the same few URLs again and again


def _head(start_line: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The head of a request without the headers by which a client asks for another protocol."""
    kept = [name + b": " + value for name, value in headers if name not in UPGRADE_HEADERS]
    if any(name == b"connection" and b"close" in value.lower() for name, value in headers):
        kept.append(b"connection: close")
    return b"\r\n".join([start_line, *kept, b"", b""])


def _response(error: RequestError, further: list[tuple[bytes, bytes]]) -> bytes:
    """The error as a complete HTTP/1.1 response, with `further` headers."""
    body = orjson.dumps({"error": str(error)})
    headers = [
        *further,
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", os.urandom(8).hex().encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
        *error.headers,
        (b"connection", b"close"),
    ]
    status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
    return b"\r\n".join([status, *(name + b": " + value for name, value in headers), b"", body])
