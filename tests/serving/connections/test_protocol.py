"""Requests that ask for another protocol are answered in this one."""

import asyncio
from functools import partial
from typing import Any

import httptools
import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from serving import routes
from serving.connections.protocol import Connection, Shared
from serving.http import cors
from serving.settings import Settings

BODY = b'{"inputs": []}'
GET = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
ASKING = b"host: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n"


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True


class Closing(Transport):
    """Records that it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True


async def answer_at_once(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def answers(pieces: list[bytes]) -> list[bytes]:
    """What an application that returns method, path, body and a header answers to a client that sends these pieces."""
    lines = exchange(pieces).split(b"\r\n")
    return [line.removeprefix(b"x-answer: ") for line in lines if line.startswith(b"x-answer: ")]


def exchange(pieces: list[bytes], origins: tuple[str, ...] = ()) -> bytes:
    """Everything that is written to this client."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        key = dict(scope["headers"]).get(b"x-api-key", b"")
        answer = scope["method"].encode() + b" " + scope["raw_path"] + b" " + body + key
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-answer", answer)]})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> bytes:
        config = Config(application, lifespan="off", log_config=None)
        config.load()
        shared = Shared(Settings(), lambda reason: None, lambda: None, partial(cors.headers, origins))
        connection, transport = Connection(config, ServerState(), {}, shared), Transport()
        connection.connection_made(transport)
        for piece in pieces:
            connection.data_received(piece)
            assert not connection._received  # nothing is kept alive between two pieces
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        return transport.written

    return asyncio.run(run())


LENGTH = b"POST /a HTTP/1.1\r\n" + ASKING + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"POST /b HTTP/1.1\r\n" + ASKING + b"transfer-encoding: chunked\r\n\r\ne\r\n" + BODY + b"\r\n0\r\n\r\n"
WITHOUT = b"GET /c HTTP/1.1\r\n" + ASKING + b"\r\n"
POST = b"POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
PLAIN = b"POST /d HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_a_request_to_upgrade_is_answered_with_its_body(size: int) -> None:
    """Java's HttpClient asks for HTTP/2 in this way by default."""
    sent = LENGTH + PLAIN + CHUNKED + WITHOUT + LENGTH
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    post = b"POST /a " + BODY
    assert answers(pieces) == [post, b"POST /d hi", b"POST /b " + BODY, b"GET /c ", post]


@pytest.mark.parametrize("size", [1, 10_000])
def test_trailers_are_no_headers_of_the_request_before_or_after_them(size: int) -> None:
    sent = CHUNKED.removesuffix(b"\r\n") + b"X-Api-Key: smuggled\r\n\r\n" + PLAIN
    sent += PLAIN.replace(b"content-length", b"x-api-key: 1\r\ncontent-length")
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert answers(pieces) == [b"POST /b " + BODY, b"POST /d hi", b"POST /d hi1"]


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [((), b"http://a", b""), (("http://a",), b"http://a", b"http://a"), (("http://a",), b"http://b", b""),
     (("*",), b"http://a", b"*")],
)  # fmt: skip
def test_pages_of_allowed_origins_can_read_a_refusal(origins: tuple[str, ...], origin: bytes, allowed: bytes) -> None:
    wrong_headers = b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\norigin: " + origin + b"\r\n\r\n"
    wrong_body = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\norigin: " + origin + b"\r\n\r\nwrong\r"
    for request in (wrong_headers, wrong_body):
        answer = exchange([request], origins)
        assert answer.startswith(b"HTTP/1.1 400 ")
        lines = answer.split(b"\r\n")
        assert [line for line in lines if line.startswith(b"access-control-allow-origin")] == (
            [b"access-control-allow-origin: " + allowed] if allowed else []
        )


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [([GET, GET], [b"200"]), ([GET + GET], [b"200"]), ([GET[:9], GET[9:]], [b"503"]), ([b"\xff\r\n\r\n"], [b"503"]),
     ([GET.replace(b"livez", b"docs")], [b"503"]), ([GET.replace(b"x", b"x" * 20_000)], [b"503"]),
     ([GET.replace(b"GET", b"POST")], [b"503"]), ([], [b"503"])],
)  # fmt: skip
def test_a_connection_beyond_the_limit_has_one_probe(pieces: list[bytes], expected: list[bytes]) -> None:
    async def run() -> tuple[bytes, bool]:
        config = Config(answer_at_once, lifespan="off", log_config=None)
        config.load()
        shared = Shared(Settings(max_connections=1), lambda reason: None, lambda: None, is_probe=routes.is_probe)
        state, transport = ServerState(), Closing()
        for wire in (Closing(), transport):
            connection = Connection(config, state, {}, shared)
            connection.connection_made(wire)
        for piece in pieces:
            if not transport.closed:
                connection.data_received(piece)
            await asyncio.sleep(0)
        connection.expire(connection.loop.time() + 1.1)
        return transport.written, transport.closed

    written, closed = asyncio.run(run())
    assert [part[:3] for part in written.split(b"HTTP/1.1 ")[1:]] == expected
    assert closed
    assert b"connection: close" in written


def test_a_refusal_is_not_written_into_a_response() -> None:
    async def run(starts: bool, pieces: tuple[bytes, ...]) -> tuple[bytes, bool]:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            if starts:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"part", "more_body": True})
            await asyncio.Event().wait()

        config = Config(application, lifespan="off", log_config=None)
        config.load()
        state, transport = ServerState(), Transport()
        reasons: list[str] = []
        connection = Connection(config, state, {}, Shared(Settings(), reasons.append, lambda: None))
        connection.connection_made(transport)
        for piece in pieces:
            connection.data_received(piece)
            for _ in range(5):
                await asyncio.sleep(0)
        for task in state.tasks:
            task.cancel()
        assert reasons == ["malformed"]
        return transport.written, transport.aborted

    written, aborted = asyncio.run(run(True, (POST, b"garbage\r\n")))
    assert aborted
    assert b"part" in written
    assert b" 400 " not in written
    written, aborted = asyncio.run(run(False, (POST, b"garbage\r\n")))
    assert written.startswith(b"HTTP/1.1 400 ")
    assert not aborted


HUGE_SIZE = POST + b"ffffffffffffffffff\r\n"
LARGE = GET.replace(b"x", b"x" * 20_000)
TWO_HOSTS = GET.replace(b"host: x", b"host: x\r\nhost: y")


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(
    ("pieces", "expected"),
    [([GET, b"GARBAGE\r\n\r\n"], [b"200", b"400"]), ([PLAIN + b"GARBAGE\r\n\r\n"], [b"200", b"400"]),
     ([GET, LARGE], [b"200", b"431"]), ([GET, GET + TWO_HOSTS, GET], [b"200", b"200", b"400"]),
     ([GET, POST, b"garbage\r\n"], [b"200", b"400"]), ([PLAIN + POST + b"garbage\r\n", GET], [b"200", b"400"]),
     ([GET, GET, POST + b"2\r\nhi\r\n", b"garbage\r\n"], [b"200", b"200", b"400"]),
     ([GET + GET + HUGE_SIZE], [b"200", b"200", b"400"])],
)  # fmt: skip
def test_a_refusal_follows_the_responses_to_earlier_requests(
    pieces: list[bytes], expected: list[bytes], ends: bool
) -> None:
    """However long these take, and also where the client sends no more."""

    async def run() -> tuple[bytes, bytes]:
        answering = asyncio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await answering.wait()
            await answer_at_once(scope, receive, send)

        config = Config(application, lifespan="off", log_config=None)
        config.load()
        transport = Closing()
        connection = Connection(config, ServerState(), {}, Shared(Settings(), lambda reason: None, lambda: None))
        connection.connection_made(transport)
        for piece in pieces:
            connection.data_received(piece)
            await asyncio.sleep(0)
        assert not ends or connection.eof_received()
        connection.expire(connection.loop.time() + 5)
        before = transport.written
        answering.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert transport.closed
        assert not transport.aborted
        return before, transport.written

    before, written = asyncio.run(run())
    assert before == b""
    assert [part[:3] for part in written.split(b"HTTP/1.1 ")[1:]] == expected


def test_httptools_takes_it_for_a_request_without_a_body() -> None:
    """Otherwise `Connection._unsupported_upgrade_warning` is not needed any more."""
    parser = httptools.HttpRequestParser(object())
    with pytest.raises(httptools.HttpParserUpgrade) as caught:
        parser.feed_data(LENGTH)
    assert caught.value.args[0] == len(LENGTH) - len(BODY)


def test_an_idle_connection_is_closed_after_a_time() -> None:
    """Not while the client owes the rest of a request, which has a time limit of its own."""

    async def run(piece: bytes) -> list[bool]:
        config = Config(answer_at_once, lifespan="off", log_config=None, timeout_keep_alive=5)
        config.load()
        transport = Closing()
        connection = Connection(config, ServerState(), {}, Shared(Settings(), lambda reason: None, lambda: None))
        connection.connection_made(transport)
        for each in (PLAIN, piece):
            connection.data_received(each)
            for _ in range(5):
                await asyncio.sleep(0)
        closed, now = [], connection.loop.time()
        for seconds in (4.9, 5.1):
            connection.expire(now + seconds)
            closed.append(transport.closed)
        return closed

    assert asyncio.run(run(PLAIN)) == [False, True]
    assert asyncio.run(run(PLAIN[:9])) == [False, False]
