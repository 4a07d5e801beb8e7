"""Effect of faults on clients under load: `uv run --group benchmarks python -m benchmarks.faults`.

Champion swaps, a corrupt bundle, a killed worker, a stop, more connections than the limit, and oversized or expensive
bodies, each while at least 10,000 requests are answered. All traffic is on 127.0.0.1.
"""

import argparse
import io
import json
import multiprocessing
import os
import socket
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median

import psutil
from tabulate import tabulate

from benchmarks import machine
from benchmarks.paths import RESULTS
from benchmarks.serving import champions, load, servers
from benchmarks.serving.champions import Served
from benchmarks.serving.jobs import make_job
from benchmarks.serving.load import HOST, Measured
from benchmarks.serving.payloads import BINARY
from benchmarks.serving.servers import Running
from models.manifest import MANIFEST

REQUESTS = 10_000
WORKERS = 2
IMAGES = 32
CONNECTIONS = 32
LARGE = 100 << 20  # bytes of a body that is rejected
ROUNDS = 5
PAUSE_SECONDS = 0.05
CONNECTING_SECONDS = 8.0  # in which TCP retransmits packets lost when thousands of connections are opened at once
OVERLOAD_SECONDS = 30.0
MOST_MS = 250.0
FLAT_MEGABYTES = 5.0


@dataclass(frozen=True)
class Outcome:
    """A fault, its measured effect, and the aim that the effect is compared with."""

    fault: str
    found: str
    aim: str
    met: bool


@dataclass(frozen=True)
class Bench:
    """A served model, the client process, and a folder for the files of the services."""

    served: Served
    client: Executor
    home: Path

    @contextmanager
    def service(self) -> Iterator[Running]:
        """A separate service for one fault."""
        folder = Path(tempfile.mkdtemp(dir=self.home))
        with servers.run(servers.tandem(self.served, WORKERS, folder), folder / "log.txt") as running:
            yield running

    def ask(self, running: Running, fault: Callable[[], object], seconds: float) -> Measured:
        """Send requests for `seconds`, each after the answer to the previous one; the fault follows 0.3 s later."""
        asked = make_job(running, self.served, BINARY, 1, CONNECTIONS, seconds)
        answers = self.client.submit(load.measure, asked)
        time.sleep(0.3)
        fault()
        return answers.result()


def main() -> None:
    """Inject all faults; write and print the outcomes."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    machine.pin(2)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        client = stack.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
        bench = Bench(champions.make_fashion(home / "champion"), client, home)
        outcomes = [fault(bench) for fault in (swaps, kill, stop, overload)]
        outcomes += [beside(bench, name) for name in UNWANTED]
    (RESULTS / "faults.json").write_text(json.dumps([asdict(each) for each in outcomes], indent=1) + "\n", "utf-8")
    rows = [(each.fault, each.found, each.aim, "yes" if each.met else "**no**") for each in outcomes]
    sys.stdout.write(tabulate(rows, ("fault", "found", "aim", "met"), "github") + "\n")


def swaps(bench: Bench) -> Outcome:
    """Two champion swaps, and a corrupt bundle."""
    manifest = bench.served.folder / MANIFEST
    good = json.loads(manifest.read_text("utf-8"))

    def change() -> None:
        for content in (good | {"version": "2"}, None, good | {"version": "3"}):
            _replace(manifest, json.dumps(content).encode() if content else os.urandom(1000))
            time.sleep(1.2)

    with bench.service() as running:
        found = bench.ask(running, change, 5.0)
    _replace(manifest, json.dumps(good).encode())
    said = f"{found.answered:,} answers, {found.errors} errors {found.first_error[:60]}".strip()
    return Outcome("two swaps and a corrupt bundle", said, "no failed request", _enough(found) and not found.errors)


def kill(bench: Bench) -> Outcome:
    """`kill -9` of a worker, and the time until it is replaced."""
    seconds = 0.0

    def murder() -> None:
        nonlocal seconds
        workers = _workers(running)
        busiest = max(workers, key=lambda each: len(each.net_connections()))
        busiest.kill()
        started = time.monotonic()
        while len(_workers(running)) < len(workers) or busiest in _workers(running):
            time.sleep(0.05)
        seconds = time.monotonic() - started

    with bench.service() as running:
        found = bench.ask(running, murder, 8.0)
    said = f"{found.answered:,} answers, {found.errors} connections lost, a new worker after {seconds:.1f} s"
    return Outcome(
        "kill -9 of a worker",
        said,
        f"at most {CONNECTIONS} lost, recovered in 10 s",
        found.errors <= CONNECTIONS and seconds < 10,
    )


def stop(bench: Bench) -> Outcome:
    """SIGTERM while 32 slow requests are in progress: each has sent half of its body."""
    with bench.service() as running:
        request = make_job(running, bench.served, BINARY, 1, 1, 1.0).requests[0]
        wires = [socket.create_connection((HOST, running.server.port), 20) for _ in range(CONNECTIONS)]
        for wire in wires:
            wire.sendall(request[:-100])
        time.sleep(0.5)
        running.process.terminate()
        time.sleep(0.5)
        for wire in wires:
            wire.sendall(request[-100:])
        answered = sum(wire.recv(65536).startswith(b"HTTP/1.1 200") for wire in wires)
        status = running.process.wait(20)
    said = f"{answered} of {len(wires)} answered, exit status {status}"
    return Outcome("SIGTERM with requests in progress", said, "all answered", answered == len(wires) and status == 0)


def overload(bench: Bench) -> Outcome:
    """Four times as many requests of 32 images as can be answered; rejected ones are repeated after a second."""
    with bench.service() as running:

        def job(connections: int, seconds: float, warm_seconds: float) -> load.Job:
            asked = make_job(running, bench.served, BINARY, IMAGES, connections, seconds)
            return replace(asked, warm_seconds=warm_seconds)

        capacity = bench.client.submit(load.measure, job(CONNECTIONS, 3.0, 0.5)).result().per_second
        before = running.worker_megabytes()
        many = job(4 * round(capacity * load.RETRY_SECONDS), OVERLOAD_SECONDS, CONNECTING_SECONDS)
        answers, started, sizes = bench.client.submit(load.measure, many), time.monotonic(), []
        while time.monotonic() - started < CONNECTING_SECONDS + OVERLOAD_SECONDS:
            time.sleep(1.0)
            if time.monotonic() - started > CONNECTING_SECONDS:
                sizes.append(running.worker_megabytes())
        found = answers.result()
    asked_for = found.per_second + found.refused / OVERLOAD_SECONDS
    third = len(sizes) // 3
    connected, grown = median(sizes[:third]), median(sizes[-third:]) - median(sizes[:third])
    said = (
        f"{asked_for:,.0f} requests/s, capacity {capacity:,.0f}: {found.per_second:,.0f} answered, "
        f"p99 {found.p99_ms:.0f} ms; the rest rejected, p99 {found.refused_p99_ms:.0f} ms; {found.errors} errors; "
        f"worker {before:.0f} MB, {connected:.0f} MB with {many.connections:,} connections, then {grown:+.1f} MB in "
        f"{OVERLOAD_SECONDS:.0f} s"
    )
    aim = f"p99 under {MOST_MS:.0f} ms, the rest rejected in that time, constant memory"
    met = max(found.p99_ms, found.refused_p99_ms) < MOST_MS and not found.errors and grown < FLAT_MEGABYTES
    return Outcome("overload", said, aim, met)


def beside(bench: Bench, name: str) -> Outcome:
    """Medians of the p99 of valid requests without and with concurrent bad ones, in alternation."""
    context = multiprocessing.get_context("spawn")
    alone, disturbed = [], []
    with bench.service() as running:
        good = make_job(running, bench.served, BINARY, 1, 8, 2.0)
        for _ in range(ROUNDS):
            alone.append(bench.client.submit(load.measure, good).result())
            end = context.Event()
            process = context.Process(target=pester, args=(name, running.server.port, end))
            process.start()
            time.sleep(2.0)  # it has begun
            disturbed.append(bench.client.submit(load.measure, good).result())
            end.set()
            process.join()
    before, after = (median(each.p99_ms for each in found) for found in (alone, disturbed))
    errors = sum(each.errors for each in alone + disturbed)
    said = f"p99 of valid requests {before:.1f} -> {after:.1f} ms, {errors} errors"
    return Outcome(f"concurrent {name}", said, "p99 at most doubles", after <= 2 * before and not errors)


def pester(name: str, port: int, end: Event) -> None:
    """Repeat the same bad request with short pauses."""
    make = UNWANTED[name]
    pieces = [*make()]
    while not end.is_set():
        try:
            with socket.create_connection((HOST, port), 10) as wire:
                for piece in pieces:
                    wire.sendall(piece)
                wire.recv(1000)
        except OSError:
            pass  # rejected while the body was still being sent
        time.sleep(PAUSE_SECONDS)


def long_body() -> Iterator[bytes]:
    """100 MB with a Content-Length."""
    yield _head("/predict", "application/json", f"Content-Length: {LARGE}")
    yield from [bytes(1 << 20)] * (LARGE >> 20)


def chunked_body() -> Iterator[bytes]:
    """100 MB in chunks, without a Content-Length."""
    yield _head("/predict", "application/json", "Transfer-Encoding: chunked")
    yield from [b"100000\r\n" + bytes(1 << 20) + b"\r\n"] * (LARGE >> 20)
    yield b"0\r\n\r\n"


def bomb() -> Iterator[bytes]:
    """A PNG of 400 megapixels in 400 kB."""
    side = 20_000
    rows = zlib.compress(bytes(side * (side + 1)), 9)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    picture = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    yield _head("/predict/image", "image/png", f"Content-Length: {len(picture)}") + picture


def photograph() -> Iterator[bytes]:
    """A JPEG of 12 megapixels, which is decoded."""
    import numpy as np
    from PIL import Image

    side = np.linspace(0, 255, 4000, dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.broadcast_to(side, (3000, 4000)).copy()).convert("RGB").save(stream, "JPEG")
    picture = stream.getvalue()
    yield _head("/predict/image", "image/jpeg", f"Content-Length: {len(picture)}") + picture


UNWANTED: dict[str, Callable[[], Iterator[bytes]]] = {
    "100 MB bodies with a length": long_body,
    "100 MB bodies in chunks": chunked_body,
    "images of 400 megapixels": bomb,
    "photographs of 12 megapixels": photograph,
}


def _head(path: str, content_type: str, length: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", f"Host: {HOST}", f"Content-Type: {content_type}", "Connection: close", length)
    return "\r\n".join([*lines, "", ""]).encode()


def _enough(found: Measured) -> bool:
    """True if there were enough answers to observe rare errors."""
    return found.answered >= REQUESTS and not found.refused


def _workers(running: Running) -> list[psutil.Process]:
    return [each for each in psutil.Process(running.process.pid).children() if each.status() != psutil.STATUS_ZOMBIE]


def _replace(path: Path, content: bytes) -> None:
    """Write to a temporary file, then rename it."""
    beside = path.with_suffix(".partial")
    beside.write_bytes(content)
    beside.rename(path)


if __name__ == "__main__":
    main()
