"""Responses are those of uvicorn, byte for byte."""

import asyncio
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.connections.protocol import Connection, Shared
from serving.settings import Settings
from tests.serving.connections.test_protocol import Transport

Headers = list[tuple[bytes, bytes]]
LENGTH = (b"content-length", b"4")
OTHER = (b"x-other", b"caf\xe9\tau lait")


def written(own: bool, request: bytes, status: int, headers: Headers, parts: list[bytes]) -> bytes:
    """What this response to the request is on the wire, from this package's connection or from uvicorn's."""

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": part is not parts[-1]})

    async def run() -> bytes:
        config, state = Config(application, lifespan="off", log_config=None, ws="none"), ServerState()
        config.load()
        state.default_headers = [(b"date", b"Mon, 30 Nov 2026 12:00:00 GMT")]
        shared = Shared(Settings(), lambda reason: None, lambda: None)
        connection = Connection(config, state, {}, shared) if own else HttpToolsProtocol(config, state, {})
        transport = Transport()
        connection.connection_made(transport)
        connection.data_received(request)
        for _ in range(10):
            await asyncio.sleep(0)
        return transport.written

    return asyncio.run(run())


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1", b"HEAD / HTTP/1.1", b"GET /?a=%20b HTTP/1.0"])
@pytest.mark.parametrize("further", [b"", b"connection: close\r\n", b"expect: 100-continue\r\n"])
@pytest.mark.parametrize(
    ("status", "headers", "parts"),
    [
        (200, [OTHER, LENGTH], [b"body"]),
        (503, [LENGTH], [b"bo", b"dy", b""]),
        (200, [OTHER], [b"body"]),
        (200, [LENGTH, (b"connection", b"close")], [b"body"]),
        (204, [(b"content-length", b"0")], [b""]),
        (200, [LENGTH], [b"longer"]),
    ],
)
def test_a_response_is_that_of_uvicorn(
    start: bytes, further: bytes, status: int, headers: Headers, parts: list[bytes]
) -> None:
    request = start + b"\r\nhost: x\r\n" + further + b"\r\n"
    response = written(True, request, status, headers, parts)
    assert response == written(False, request, status, headers, parts)
    assert response.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("control", [b"\r\nx-injected: 1", b"\n", b"\r", b"\0", b"\x1f", b"\x7f"])
@pytest.mark.parametrize("headers", [[], [LENGTH]])
def test_a_header_with_a_control_character_is_not_sent(control: bytes, headers: Headers) -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    response = written(True, request, 200, [*headers, (b"x-id", b"a" + control)], [b"body"])
    assert response.startswith(b"HTTP/1.1 500 ") if headers else not response  # uvicorn has begun its own by then
    assert b"x-id" not in response
