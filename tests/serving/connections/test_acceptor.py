"""Connections are distributed evenly over the workers, and none is lost with a worker that does not hold it."""

import asyncio
import contextlib
import os
import signal
import socket
import statistics
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest

from serving.connections import acceptor, shared_counts
from serving.connections.acceptor import Acceptor
from serving.connections.shared_counts import SharedCounts
from tests.serving.bundles import DIGITS, weights, write
from tests.serving.conftest import PATIENCE, Served, serve, wait_for

OPENED, LIMIT, RUNS = 32, 22, 11
REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two workers as in a container, that close no idle connection while a test holds it."""
    home = tmp_path_factory.mktemp("two")
    folder = write(home / "champion", weights(DIGITS))
    container = {"BENTOML_CONTAINERIZED": "true", "TANDEM_HEADER_TIMEOUT_SECONDS": "600"}
    with serve(folder, home / "bentoml", TANDEM_WORKERS="2", **container) as served:
        wait_for_workers(served)
        yield served


def wait_for_workers(served: Served) -> list[int]:
    """The process ids of two workers that accept connections: they have written a heartbeat beside their count."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        files: set[str] = set()
        with contextlib.suppress(psutil.Error):  # a process that has just ended
            files = {each.path for worker in workers(served) for each in worker.memory_maps()}
        files = {path for path in files if path.endswith("/connections")}
        if len(files) == 1 and len(workers(served)) == 2:
            times = struct.unpack("qdqd", Path(files.pop()).read_bytes())[1::2]
            if min(times) > time.monotonic() - 1:
                return [each.pid for each in workers(served)]
        time.sleep(0.1)
    raise AssertionError(served.output.read_text())


def workers(served: Served) -> list[psutil.Process]:
    return [each for each in psutil.Process(served.process.pid).children() if is_alive(each)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def open_at_once(served: Served) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """32 connections, each with an answered request."""
    url = httpx.URL(served.url)

    async def one() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        await request(reader, writer)
        return reader, writer

    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*(one() for _ in range(OPENED)))


async def request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(REQUEST)
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")


def holders(served: Served) -> dict[int, int]:
    """The process id of the worker by the client's port, of each established connection."""
    return {
        each.raddr.port: worker.pid
        for worker in workers(served)
        for each in worker.net_connections("tcp")
        if each.status == psutil.CONN_ESTABLISHED and each.raddr
    }


def ports(opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> list[int]:
    return [writer.get_extra_info("sockname")[1] for _, writer in opened]


def test_of_32_connections_no_worker_holds_more_than_22(two: Served) -> None:
    """In most runs: a busy machine may give one of the workers no core for longer than connections are left to it."""

    async def largest() -> int:
        opened = await open_at_once(two)
        holder = holders(two)
        counts = Counter(holder[port] for port in ports(opened))
        for _, writer in opened:
            writer.close()
        return max(counts.values())

    found = []
    for _ in range(RUNS):
        found.append(asyncio.run(largest()))
        wait_for(lambda: not holders(two))
    assert statistics.median(found) <= LIMIT, found


def test_a_killed_worker_takes_only_its_own_connections_with_it(two: Served) -> None:
    wait_for_workers(two)

    async def go() -> None:
        held = await open_at_once(two)
        holder = holders(two)
        held_by = Counter(holder[port] for port in ports(held))
        killed, kept = sorted((each.pid for each in workers(two)), key=lambda pid: held_by[pid])
        os.kill(killed, signal.SIGSTOP)  # it accepts no more, and then it is gone
        waiting = asyncio.create_task(open_at_once(two))
        await asyncio.sleep(0.02)
        os.kill(killed, signal.SIGKILL)
        opened = await waiting
        await asyncio.to_thread(wait_for, lambda: killed not in [each.pid for each in workers(two)])
        found = holders(two)
        assert {found[port] for port in ports(opened)} == {kept}
        kept_ones = [each for each, port in zip(held, ports(held), strict=True) if holder[port] == kept]
        assert len(kept_ones) >= OPENED // 2
        for reader, writer in kept_ones:
            await request(reader, writer)
        for _, writer in [*held, *opened]:
            writer.close()

    asyncio.run(go())


def test_a_worker_accepts_alone_while_another_one_starts(two: Served) -> None:
    """The killed one's count stays, and is ignored as soon as its last heartbeat is too old."""
    os.kill(wait_for_workers(two)[0], signal.SIGKILL)
    url = httpx.URL(two.url)
    for _ in range(100):
        with socket.create_connection((url.host, url.port or 80), timeout=PATIENCE) as wire:
            wire.sendall(REQUEST)
            assert wire.recv(1000).startswith(b"HTTP/1.1 200")
    wait_for_workers(two)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands still until a test sets `now`: on a busy machine a pause may last as long as connections are left."""
    clock = SimpleNamespace(now=time.monotonic())
    stopped = SimpleNamespace(monotonic=lambda: clock.now)
    monkeypatch.setattr(acceptor, "time", stopped)
    monkeypatch.setattr(shared_counts, "time", stopped)
    return clock


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def counts(folder: Path, *others: int) -> SharedCounts:
    """Those of worker 0 beside workers that hold so many connections."""
    file = folder / "counts"
    for index, count in enumerate(others, 1):
        other = SharedCounts(file, len(others) + 1, index)
        other.set(count)
        other.renew()
    return SharedCounts(file, len(others) + 1, 0)


async def pauses_until_accepted(
    listener: socket.socket, held: int, shared: SharedCounts, limit: int = 100, seconds: float = PATIENCE
) -> list[float]:
    """Seconds of each pause that the acceptor makes before it accepts; a duration would also measure the machine."""
    accepted = asyncio.get_running_loop().create_future()
    pauses: list[float] = []

    class Recorded(Acceptor):
        def _pause(self, seconds: float) -> None:
            pauses.append(seconds)
            super()._pause(seconds)

    async def connect(wire: socket.socket) -> None:
        wire.close()
        accepted.set_result(None)

    accepting = Recorded(listener, connect, lambda: held, limit, shared)
    with socket.create_connection(listener.getsockname()):
        try:
            await asyncio.wait_for(accepted, seconds)
        finally:
            await accepting.close()
    return pauses


@pytest.mark.parametrize(("held", "others", "deferred"), [(3, (), 0), (3, (5, 3), 0), (3, (5, 2), 0), (3, (5, 1), 5)])
def test_a_connection_is_left_to_a_worker_that_holds_fewer(
    listener: socket.socket,
    clock: SimpleNamespace,
    tmp_path: Path,
    held: int,
    others: tuple[int, ...],
    deferred: int,
) -> None:
    pauses = asyncio.run(pauses_until_accepted(listener, held, counts(tmp_path, *others)))
    assert pauses == [acceptor.PAUSE_SECONDS] * deferred


class Recorded(Acceptor):
    """Records the seconds of each pause and calls `paused` in it; beside 3 connections it holds those it accepts."""

    def __init__(self, listener: socket.socket, shared: SharedCounts) -> None:
        self.pauses: list[float] = []
        self.accepted: list[socket.socket] = []
        self.paused: Callable[[], None] = lambda: None
        super().__init__(listener, self.connect, lambda: 3 + len(self.accepted), 100, shared)

    async def connect(self, wire: socket.socket) -> None:
        self.accepted.append(wire)

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        super()._pause(seconds)
        self.paused()

    async def stop(self) -> None:
        await self.close()
        for wire in self.accepted:
            wire.close()


def test_each_connection_is_left_to_others_for_as_long_as_any(
    listener: socket.socket, clock: SimpleNamespace, tmp_path: Path
) -> None:
    """Whether those before it were accepted by another worker or here."""

    async def go() -> list[int]:
        accepting, taken, found = Recorded(listener, counts(tmp_path, 0)), [], []

        async def open_one() -> None:
            before = len(taken) + len(accepting.accepted)
            with socket.create_connection(listener.getsockname()):
                async with asyncio.timeout(PATIENCE):
                    while len(taken) + len(accepting.accepted) == before or accepting._timer:
                        await asyncio.sleep(0)
            found.append(len(accepting.pauses))
            accepting.pauses.clear()

        await open_one()
        clock.now += 2 * acceptor.UNUSED_SECONDS
        accepting.paused = lambda: taken.append(listener.accept()[0])  # as another worker, at once
        for _ in range(acceptor.MAX_PAUSES):
            await open_one()
        accepting.paused = lambda: None
        await open_one()
        await accepting.stop()
        for wire in taken:
            wire.close()
        return found

    assert asyncio.run(go()) == [acceptor.MAX_PAUSES, *[1] * acceptor.MAX_PAUSES, acceptor.MAX_PAUSES]


def test_nothing_is_left_to_a_worker_that_accepts_none(
    listener: socket.socket, clock: SimpleNamespace, tmp_path: Path
) -> None:
    """Such as one that was killed a moment ago. The pauses for each connection would add up to seconds."""

    async def go() -> float:
        accepting = Recorded(listener, counts(tmp_path, 0))
        begun = clock.now

        def pass_time() -> None:
            clock.now = begun + sum(accepting.pauses)

        accepting.paused = pass_time
        async with asyncio.timeout(PATIENCE):
            while len(accepting.accepted) < OPENED:
                await asyncio.sleep(0)
        await accepting.stop()
        return sum(accepting.pauses)

    with contextlib.ExitStack() as opened:
        for _ in range(OPENED):
            opened.enter_context(socket.create_connection(listener.getsockname()))
        assert asyncio.run(go()) < acceptor.UNUSED_SECONDS + 2 * acceptor.PAUSE_SECONDS


def test_connections_that_wait_are_accepted_in_one_turn_of_the_event_loop(
    listener: socket.socket, clock: SimpleNamespace, tmp_path: Path
) -> None:
    """A turn lasts as long as all requests that have arrived: one connection per turn would be a wait of seconds."""
    accepted = []

    async def connect(wire: socket.socket) -> None:
        accepted.append(wire)

    async def go() -> int:
        accepting, turns = Acceptor(listener, connect, lambda: len(accepted), 100, counts(tmp_path)), 0
        while len(accepted) < OPENED and turns < 100:
            await asyncio.sleep(0)
            turns += 1
        await accepting.close()
        return turns

    with contextlib.ExitStack() as opened:
        for _ in range(OPENED):
            opened.enter_context(socket.create_connection(listener.getsockname()))
        assert asyncio.run(go()) < 10
        for wire in accepted:
            wire.close()


def test_a_full_worker_accepts_nothing(listener: socket.socket, tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(pauses_until_accepted(listener, 100, counts(tmp_path), seconds=0.3))


def test_two_acceptors_share_the_connections_that_wait(
    listener: socket.socket, clock: SimpleNamespace, tmp_path: Path
) -> None:
    """As two workers, in one event loop: none of them waits for a core."""

    async def go() -> list[int]:
        held: list[list[socket.socket]] = [[], []]
        acceptors: list[Acceptor] = []
        sockets = [listener, listener.dup()]

        def accept(index: int) -> Acceptor:
            async def connect(wire: socket.socket) -> None:
                held[index].append(wire)

            shared = SharedCounts(tmp_path / "counts", 2, index)
            shared.renew()
            return Acceptor(
                sockets[index], connect, lambda: len(held[index]) + acceptors[index].connecting, 100, shared
            )

        acceptors += [accept(index) for index in range(2)]
        with contextlib.ExitStack() as stack:
            for _ in range(OPENED):
                stack.enter_context(socket.create_connection(listener.getsockname()))
            async with asyncio.timeout(PATIENCE):
                while sum(map(len, held)) < OPENED:
                    await asyncio.sleep(0.001)
        for each in acceptors:
            await each.close()
        for wire in (*held[0], *held[1], sockets[1]):
            wire.close()
        return list(map(len, held))

    assert max(asyncio.run(go())) <= OPENED // 2 + acceptor.SLACK + 1


def test_a_worker_without_a_heartbeat_does_not_count(tmp_path: Path, clock: SimpleNamespace) -> None:
    shared = counts(tmp_path, 7, 1)
    assert shared.fewest() == 1
    SharedCounts(tmp_path / "counts", 3, 2).leave()
    assert shared.fewest() == 7
    clock.now += 10
    assert shared.fewest() is None
