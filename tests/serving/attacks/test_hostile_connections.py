"""Connections that send too much before a request is complete, nothing at all, or do not read."""

import contextlib
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.serving.attacks.delays import ATTEMPTS, MAX_DELAY
from tests.serving.attacks.served import answer_time
from tests.serving.bundles import DIGITS, raw
from tests.serving.conftest import PATIENCE, Served, wait_for
from tests.serving.test_limits import memory

HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
JSON = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = JSON + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
BODY = json.dumps({"inputs": raw(DIGITS, 1).tolist()}).encode()
POST = JSON + b"Content-Length: %d\r\n" % len(BODY)
CONNECTIONS = 400  # at most, of the service `strict`
MEGABYTES = 60
LARGE: dict[str, tuple[int, bytes, bytes]] = {  # status, what is sent first, what is repeated until MEGABYTES are sent
    "one header": (431, HEAD + b"x: ", b"a"),
    "many headers": (431, HEAD, b"a: b\r\n"),
    "a header name": (431, HEAD, b"a"),
    "empty lines": (431, b"", b"\r\n"),
    "a URL": (414, b"GET /", b"a"),
    "a trailer": (431, CHUNKED + b"0\r\nx: ", b"a"),
    "headers after a body": (431, POST + b"\r\n" + BODY + HEAD + b"x: ", b"a"),
    "a chunk extension": (431, CHUNKED + b"1;x=", b"a"),
}


def connect(served: Served, receive_buffer: int = 0) -> socket.socket:
    url = httpx.URL(served.url)
    wire = socket.socket()
    wire.settimeout(PATIENCE)
    if receive_buffer:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    wire.connect((url.host, url.port or 80))
    return wire


def read(wire: socket.socket) -> bytes:
    """What is received until the service closes the connection."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while chunk := wire.recv(65536):
            answer += chunk
    return answer


def talk(served: Served, *pieces: bytes) -> bytes:
    """The answer to `pieces`, sent as far as the service reads them."""
    with connect(served) as wire:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                wire.sendall(piece)
        return read(wire)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def rejections(served: Served, reason: str) -> float:
    text = httpx.get(f"{served.url}/metrics").text
    found = [line for line in text.splitlines() if line.startswith(f'tandem_rejections_total{{reason="{reason}"}}')]
    return float(found[0].split()[1]) if found else 0.0


@pytest.mark.parametrize("name", LARGE)
def test_headers_are_not_collected_without_limit(strict: Served, name: str) -> None:
    expected, first, repeated = LARGE[name]
    reason = "url" if expected == 414 else "headers"
    before, counted = memory(strict), rejections(strict, reason)
    piece = repeated * (1_000_000 // len(repeated))
    answer = talk(strict, first, *[piece] * MEGABYTES)
    if answer:  # a client that is still sending after LINGER_SECONDS loses it
        last = answer[answer.rindex(b"HTTP/1.1 ") :]
        assert status(last) == expected
        assert json.loads(last.partition(b"\r\n\r\n")[2])["error"]
        assert b"connection: close" in last
    assert rejections(strict, reason) == counted + 1
    assert memory(strict) - before < 25e6


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (HEAD + b"a: b\r\n" * 98, 200),
        (HEAD + b"a: b\r\n" * 100, 431),
        (HEAD + b"a: " + b"b" * 16_000 + b"\r\n", 200),
        (HEAD + b"a: " + b"b" * 16_400 + b"\r\n", 431),
        (HEAD + (b"a: " + b"b" * 1000 + b"\r\n") * 17, 431),
        (b"GET /livez?" + b"a" * 8000 + b" HTTP/1.1\r\nHost: x\r\n", 200),
        (b"GET /livez?" + b"a" * 8192 + b" HTTP/1.1\r\n", 414),
        (POST + b"a: " + b"b" * 15_000 + b"\r\n", 200),
    ],
)
def test_complete_headers_up_to_the_limits_are_accepted(strict: Served, request_: bytes, expected: int) -> None:
    body = BODY if request_.startswith(b"POST") else b""
    assert status(talk(strict, request_ + b"Connection: close\r\n\r\n" + body)) == expected


def test_a_large_body_beside_headers_is_accepted(strict: Served) -> None:
    content = json.dumps({"inputs": raw(DIGITS, 2000).tolist()})
    padding = {"content-type": "application/json", "x-padding": "a" * 15_000}
    assert httpx.post(f"{strict.url}/predict", content=content, headers=padding).status_code == 200


def test_a_body_in_pieces_of_a_byte_is_accepted(strict: Served) -> None:
    pieces = (BODY[at : at + 1] for at in range(len(BODY)))
    headers = {"content-type": "application/json"}
    assert httpx.post(f"{strict.url}/predict", content=pieces, headers=headers).status_code == 200


def test_good_requests_are_not_delayed_by_large_headers(strict: Served) -> None:
    def attack() -> None:
        talk(strict, HEAD + b"x: ", *[b"a" * 1_000_000] * 60)

    for _ in range(ATTEMPTS):
        longest = 0.0
        with ThreadPoolExecutor(2) as pool, httpx.Client(base_url=strict.url) as client:
            wait = answer_time(client, strict)
            wait()
            attacks = [pool.submit(attack) for _ in range(2)]
            while not all(each.done() for each in attacks):
                longest = max(longest, wait())
        if longest <= MAX_DELAY:
            break
    assert longest <= MAX_DELAY


@pytest.mark.parametrize(("start", "expected"), [(b"", 0), (b"GET /li", 408), (HEAD, 408), (b"\r\n", 408)])
def test_half_a_request_is_not_waited_for(strict: Served, start: bytes, expected: int) -> None:
    started = time.monotonic()
    answer = talk(strict, start)
    assert (status(answer) if answer else 0) == expected
    assert (b"the headers did not arrive within 1.0 s" in answer) == bool(expected)
    assert time.monotonic() - started > 0.5  # the service's clock is that of a turn of its event loop


def send_slowly(wire: socket.socket) -> None:
    """Bytes, one by one, until the service has closed the connection."""
    for _ in range(int(PATIENCE / 0.05)):
        wire.sendall(b"a")
        time.sleep(0.05)


def test_headers_that_arrive_byte_by_byte_are_not_waited_for(strict: Served) -> None:
    with connect(strict) as wire, pytest.raises(ConnectionError):
        send_slowly(wire)


def test_a_body_that_nobody_reads_does_not_keep_the_connection(strict: Served) -> None:
    with connect(strict) as wire:
        wire.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        assert status(wire.recv(65536)) == 200
        with pytest.raises(ConnectionError):
            send_slowly(wire)


def test_idle_connections_are_closed(strict: Served) -> None:
    wires = [connect(strict) for _ in range(300)]
    for wire in wires:
        assert read(wire) == b""
        wire.close()
    assert rejections(strict, "silent") >= 300


def test_a_client_that_does_not_read_is_disconnected(strict: Served) -> None:
    """Pipelined, so that more is sent than the kernel buffers."""
    before = rejections(strict, "unread")
    with connect(strict, receive_buffer=4096) as wire:
        wire.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        assert wait_for(lambda: rejections(strict, "unread") == before + 1)


def test_a_client_that_reads_slowly_is_served(strict: Served) -> None:
    page = httpx.get(f"{strict.url}/docs/swagger-ui-bundle.js").content
    request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n"
    for _ in range(ATTEMPTS):  # a busy machine may stop this client for as long as the timeout
        started, received = time.monotonic(), 0
        with connect(strict, receive_buffer=65536) as wire, contextlib.suppress(ConnectionError):
            wire.sendall((request + b"\r\n") * 4 + request + b"Connection: close\r\n\r\n")
            while chunk := wire.recv(65536):
                received += len(chunk)
                time.sleep(0.02)
        if received > 5 * len(page):
            break
    assert received > 5 * len(page)
    assert time.monotonic() - started > 2  # longer than the timeout


def test_many_pipelined_requests_end_the_connection(strict: Served) -> None:
    assert talk(strict, (HEAD + b"\r\n") * 2000).count(b"HTTP/1.1 200") < 100
    assert rejections(strict, "pipelined") == 1
    assert talk(strict, (HEAD + b"\r\n") * 60).count(b"HTTP/1.1 200") == 60


def test_more_connections_than_the_limit_are_refused_but_for_probes(strict: Served) -> None:
    """Kubernetes would end a worker, and with it all connections, because of a probe that is refused."""
    requests = [HEAD + b"\r\n", HEAD.replace(b"livez", b"metrics") + b"\r\n", HEAD, POST + b"\r\n" + BODY]
    expected = [200, 200, 503, 503, 503]
    held = psutil.Process(strict.process.pid).children()[0].num_fds()
    for _ in range(20):  # on a busy machine the first are closed, as they send nothing, before the last is open
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(connect(strict))
            silent = stack.enter_context(connect(strict))
            statuses = [status(talk(strict, request)) for request in requests]
            open_files = psutil.Process(strict.process.pid).children()[0].num_fds()
            answer = read(silent)
        statuses.append(status(answer) if answer else 0)
        if statuses == expected:
            break
    assert statuses == expected
    assert open_files < held + CONNECTIONS + 80
    wait_for(lambda: httpx.get(f"{strict.url}/livez").status_code == 200)


def test_a_whole_request_is_answered_though_its_client_sends_no_more(strict: Served) -> None:
    with connect(strict) as wire:
        wire.sendall(POST + b"\r\n" + BODY)
        wire.shutdown(socket.SHUT_WR)
        assert status(read(wire)) == 200


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100])
def test_what_is_not_http_gets_400_and_no_line_in_the_log(strict: Served, noise: bytes) -> None:
    before = len(strict.output.read_bytes())
    answer = talk(strict, noise)
    assert status(answer) == 400
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert len(strict.output.read_bytes()) == before


AMBIGUOUS = {  # what one implementation reads as one request and another as two, or in another way
    "length and chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\n\r\n" + BODY,
    "an unknown coding": JSON + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a negative chunk": JSON + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a second coding": JSON + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": CHUNKED.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "chunks in HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no host": HEAD.replace(b"Host: x\r\n", b"\r\n"),
    "two hosts": HEAD + b"Host: y\r\n\r\n",
    "line feeds alone": b"GET /livez HTTP/1.1\nHost: x\n\n",
    "a folded header": HEAD + b"a: b\r\n c\r\n\r\n",
    "a space before a colon": HEAD + b"a : b\r\n\r\n",
    "a NUL in a header": HEAD + b"a: \0b\r\n\r\n",
    "bytes in a path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_requests_end_the_connection(strict: Served, name: str) -> None:
    before = rejections(strict, "malformed")
    answer = talk(strict, AMBIGUOUS[name])
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert rejections(strict, "malformed") == before + 1


@pytest.mark.parametrize("trailers", [b"X-Request-Id: other\r\nContent-Type: text/plain\r\n", b"a: b\r\n" * 2000])
def test_trailers_are_ignored(strict: Served, trailers: bytes) -> None:
    body = b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n" + trailers + b"\r\n"
    own = b"X-Request-Id: own\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = talk(strict, JSON + own + body)
    assert status(answer) == 200
    assert b"x-request-id: own\r\n" in answer
