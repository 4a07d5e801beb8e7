"""The gRPC server of one worker: its calls are requests of the same ASGI application as those by HTTP.

So keys, limits, deadlines, queue, metrics and logs are the same. The message is read when the application reads the
body, after the key has been checked. Each worker listens on the same port (SO_REUSEPORT): the kernel distributes
connections over them by a hash of the addresses.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import orjson
import uvicorn
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serving.grpc.messages import SERVICE
from serving.http.messages import ASGIApp, MemoryBudget, Message
from serving.settings import Settings

Code = grpc.StatusCode
CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    404: Code.NOT_FOUND,
    408: Code.DEADLINE_EXCEEDED,
    413: Code.RESOURCE_EXHAUSTED,
    415: Code.INVALID_ARGUMENT,
    422: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
}
METADATA = {b"x-request-id", b"x-model-version", b"server-timing", b"retry-after"}  # headers sent as trailing metadata
SLOW_SECONDS = 0.25  # a message that takes longer to arrive counts in the memory budget, with the largest size
IDLE_MILLISECONDS = 300_000  # a connection without calls is closed; clients open another one when they need it
# A connection takes calls for so long, then its clients open another one. What they have not read of answers is dropped
# after the time limits of a call: HTTP/2 lets a client that answers pings leave an answer unread for good.
AGE_MILLISECONDS = 600_000
PING_MILLISECONDS = 30_000  # of silence, after which a connection must answer a ping
MAX_STREAMS = 100  # calls at a time on one connection
MAX_WATCHES = 64  # calls that watch the health of a worker: they need no key, and last as long as their clients like
MAX_OPTION = (1 << 31) - 2  # options of gRPC's core have 32 bits; it aborts with a larger number of connections
NOTICE_SECONDS = 0.1  # from NOT_SERVING until the end of the calls that watch it
Context = Any  # grpc.aio.ServicerContext


class Server:
    """Serves `application` on `settings.grpc_port`."""

    def __init__(self, application: ASGIApp, settings: Settings) -> None:
        self._application = application
        self._settings = settings
        self._server: grpc.aio.Server | None = None
        self._health = Health()

    async def start(self, host: str, config: uvicorn.Config) -> None:
        """Listen on the port at `host`, with TLS if `config` has a certificate. Raises RuntimeError where it cannot."""
        self._server = server = grpc.aio.server(options=_options(self._settings))
        budget = MemoryBudget(self._settings.max_held_bytes)
        server.add_generic_rpc_handlers((Methods(self._application, budget, self._settings.max_body_bytes),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        address = f"[{host}]:{self._settings.grpc_port}" if ":" in host else f"{host}:{self._settings.grpc_port}"
        if config.ssl_certfile:
            server.add_secure_port(address, _credentials(config))
        else:
            server.add_insecure_port(address)
        for service in ("", SERVICE):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await server.start()

    async def stop(self) -> None:
        """Report NOT_SERVING, accept no more calls, and finish those in progress."""
        if not self._server:
            return
        with contextlib.suppress(TimeoutError):  # a client that watches the health and reads nothing
            async with asyncio.timeout(NOTICE_SECONDS):
                await self._health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self._server.stop(_call_seconds(self._settings)))
        await asyncio.sleep(NOTICE_SECONDS)
        self._health.end_watches()
        await stopping


class Health(health.aio.HealthServicer):  # type: ignore[misc]
    """The health service; calls that watch the health would last until the client ends them, and delay a stop."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()
        self._watches = 0

    async def Watch(self, request: Any, context: Context) -> None:  # noqa: N802
        """Send the state and its changes. Raises grpc.aio.AbortError if too many calls do so."""
        if self._watches >= MAX_WATCHES:
            await context.abort(Code.RESOURCE_EXHAUSTED, f"{MAX_WATCHES} calls watch the health already; use Check")
        self._watches += 1
        tasks = [asyncio.ensure_future(work) for work in (super().Watch(request, context), self._ended.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watches -= 1
            for task in tasks:
                task.cancel()

    def end_watches(self) -> None:
        """End all calls that watch the health."""
        self._ended.set()


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Passes each call of the service to `application`; slow messages count with `max_bytes` in `memory_budget`."""

    def __init__(self, application: ASGIApp, memory_budget: MemoryBudget, max_bytes: int) -> None:
        self._application = application
        self._memory_budget = memory_budget
        self._max_bytes = max_bytes

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a call, None for another service. A stream of one message, so that it is read on demand."""
        path = handler_call_details.method
        if not path.startswith(f"/{SERVICE}/"):
            return None

        async def answer(_messages: AsyncIterator[bytes], context: Context) -> bytes:
            call = Call(context, self._memory_budget, self._max_bytes)
            await self._application(_scope(path, context), call.receive, call.send)
            return await call.result()

        return grpc.stream_unary_rpc_method_handler(answer)


class Call:
    """One call as the ASGI application sees it."""

    def __init__(self, context: Context, memory_budget: MemoryBudget, max_bytes: int) -> None:
        self._context = context
        self._memory_budget = memory_budget
        self._max_bytes = max_bytes
        self._status = 0
        self._headers: Iterable[tuple[bytes, bytes]] = ()
        self._parts: list[bytes] = []

    async def receive(self) -> Message:
        """The message as one piece of the body; nothing is read after the response. Raises RequestError (503)."""
        if self._status:
            return {"type": "http.disconnect"}
        content = await self._read()
        if content is grpc.aio.EOF:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": content}

    async def _read(self) -> Any:
        """The message, or EOF. Raises RequestError (503) where it arrives slowly, as too many others do."""
        reading = asyncio.ensure_future(self._context.read())
        reserved = 0
        try:
            done, _ = await asyncio.wait((reading,), timeout=SLOW_SECONDS)
            if not done:
                self._memory_budget.reserve(self._max_bytes)
                reserved = self._max_bytes
            return await reading
        finally:
            reading.cancel()
            self._memory_budget.release(reserved)

    async def send(self, message: Message) -> None:
        """Keep the response."""
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message["headers"]
        else:
            self._parts.append(message["body"])

    async def result(self) -> bytes:
        """The message of the response. Raises grpc.aio.AbortError for an error, which it sends."""
        self._context.set_trailing_metadata(
            tuple((name.decode(), value.decode("latin-1")) for name, value in self._headers if name in METADATA)
        )
        body = b"".join(self._parts)
        if self._status != 200:
            await self._context.abort(CODES.get(self._status, Code.INTERNAL), orjson.loads(body)["error"])
        return body


def _scope(path: str, context: Context) -> dict[str, Any]:
    """The ASGI scope of a call. Values of binary metadata are bytes."""
    metadata = context.invocation_metadata() or ()
    headers = [(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in metadata]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    return scope | {"at_end": context.add_done_callback}


def _credentials(config: uvicorn.Config) -> grpc.ServerCredentials:
    """The certificate of the HTTP server, and its requirement of clients'."""
    certificate = Path(str(config.ssl_certfile)).read_bytes()
    key = Path(config.ssl_keyfile).read_bytes() if config.ssl_keyfile else certificate
    authorities = Path(config.ssl_ca_certs).read_bytes() if config.ssl_ca_certs else None
    return grpc.ssl_server_credentials([(key, certificate)], authorities, config.ssl_cert_reqs == ssl.CERT_REQUIRED)


def _options(settings: Settings) -> list[tuple[str, int]]:
    """The limits of gRPC's core that are those of HTTP (grpc/include/grpc/impl/channel_arg_names.h)."""
    options = [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", settings.max_header_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_header_bytes),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.max_connection_idle_ms", IDLE_MILLISECONDS),
        ("grpc.max_connection_age_ms", AGE_MILLISECONDS),
        ("grpc.max_connection_age_grace_ms", _milliseconds(_call_seconds(settings) + settings.write_timeout_seconds)),
        ("grpc.keepalive_time_ms", PING_MILLISECONDS),
        ("grpc.keepalive_timeout_ms", _milliseconds(settings.write_timeout_seconds)),
        ("grpc.http2.ping_timeout_ms", _milliseconds(settings.write_timeout_seconds)),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.server_handshake_timeout_ms", _milliseconds(settings.header_timeout_seconds)),
    ]
    return [(name, int(min(value, MAX_OPTION))) for name, value in options]


def _call_seconds(settings: Settings) -> float:
    """The longest duration of a call, without the time in which the client reads the answer."""
    return settings.timeout_seconds + settings.turn_seconds


def _milliseconds(seconds: float) -> float:
    return seconds * 1000
