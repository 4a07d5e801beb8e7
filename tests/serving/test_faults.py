"""Faults under load: replaced and invalid champions, a killed worker, a stop. No accepted request is lost."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.conftest import PATIENCE, Local, serve, wait_for
from tests.serving.connections.test_acceptor import wait_for_workers

INPUTS = raw(DIGITS, 2)
BODY = json.dumps({"inputs": INPUTS.tolist()}).encode()
TYPE = {"content-type": "application/json"}


class Load:
    """Requests on several connections, one after another on each, within the context; their answers by connection."""

    def __init__(self, *connections: Callable[[], AbstractContextManager[Callable[[], Any]]]) -> None:
        self._connections = connections
        self._ended = threading.Event()
        self.answers: list[list[Any]] = [[] for _ in connections]

    def _send(self, connection: Callable[[], AbstractContextManager[Callable[[], Any]]], answers: list[Any]) -> None:
        with connection() as send:
            while not self._ended.is_set():
                answers.append(send())

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(len(self._connections))
        self._futures = [
            self._pool.submit(self._send, *each) for each in zip(self._connections, self.answers, strict=True)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for future in self._futures:
            future.result()

    def wait_for(self, condition: Callable[[Any], bool]) -> None:
        """Until the latest answer on each connection meets the condition."""
        wait_for(lambda: self._is_met(condition) or any(future.done() for future in self._futures))

    def _is_met(self, condition: Callable[[Any], bool]) -> bool:
        return all(answers and condition(answers[-1]) for answers in self.answers)


@contextlib.contextmanager
def posts(url: str) -> Iterator[Callable[[], httpx.Response]]:
    """Sends a request on one connection."""
    with httpx.Client(base_url=url) as client:
        yield lambda: client.post("/predict", content=BODY, headers=TYPE)


def replace_manifest(folder: Path, source: Path) -> None:
    """Replace the manifest atomically, without another change to the folder that a worker would count."""
    beside = folder.with_name("next.json")
    shutil.copy(source, beside)
    beside.replace(folder / "champion.json")


REFUSED = 'tandem_champions_total{result="refused"}'


def test_replaced_and_invalid_champions_lose_no_request_and_mix_no_outputs(tmp_path: Path) -> None:
    folder = tmp_path / "champion"
    manifests = {"garbage": tmp_path / "garbage"}
    manifests["garbage"].write_bytes(os.urandom(100))
    for version in ("3", "2", "1"):
        write(folder, weights(DIGITS, int(version)), version)
        manifests[version] = Path(shutil.copy(folder / "champion.json", tmp_path / f"{version}.json"))
    with serve(folder, tmp_path / "home", TANDEM_WORKERS="2", TANDEM_POLL_SECONDS="0.1") as served:
        wait_for_workers(served)  # one that starts with an invalid champion ends

        def refusals() -> float:
            """By all workers; each may try to load it again."""
            lines = httpx.get(f"{served.url}/metrics").text.splitlines()
            return sum(float(line.split()[-1]) for line in lines if line.startswith(REFUSED))

        with Load(*[partial(posts, served.url)] * 4) as load:
            for change in ("1", "2", "garbage", "3", "1"):
                replace_manifest(folder, manifests[change])
                if change == "garbage":
                    wait_for(lambda: refusals() >= 2)
                else:
                    load.wait_for(lambda answer, version=change: answer.headers["x-model-version"] == version)
        answers = [answer for answers in load.answers for answer in answers]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["x-model-version"] for answer in answers} == {"1", "2", "3"}
        for answer in answers[::7]:
            expected = weights(DIGITS, int(answer.json()["model"]["version"])).expected(INPUTS)
            outputs = [list(row["probabilities"].values()) for row in answer.json()["predictions"]]
            np.testing.assert_allclose(outputs, expected, atol=1e-6)
        assert "rejected new champion, keeping torch-cnn 2: " in served.output.read_text()


def test_before_a_stop_requests_in_flight_are_answered_and_idle_clients_are_not_waited_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "champion", weights(DIGITS))
    with (
        serve(folder, tmp_path / "home", TANDEM_WORKERS="1", TANDEM_HEADER_TIMEOUT_SECONDS="600") as served,
        contextlib.ExitStack() as stack,
    ):
        address = httpx.URL(served.url)

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection((address.host, address.port or 80), timeout=PATIENCE))

        idle = [connect() for _ in range(5)]
        idle[0].sendall(b"GET /li")
        with connect() as wire:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}"
            wire.sendall(head.encode() + b"\r\nExpect: 100-continue\r\n\r\n" + BODY[:50])
            assert wire.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the service reads the body
            started = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            wire.sendall(BODY[50:])
            assert wire.recv(65536).startswith(b"HTTP/1.1 200")
        assert served.process.wait(PATIENCE) == 0
        assert time.monotonic() - started < 25  # after 30 s the worker would be killed


def test_the_counts_of_the_last_second_are_kept_at_a_stop(digits: Path, local: Callable[..., Local]) -> None:
    worker = local(digits).worker

    async def run() -> None:
        await worker.start()
        worker.metrics.record_request("predict", 200, 0.1)
        await worker.stop()

    asyncio.run(run())
    labels = {"endpoint": "predict", "status": "200"}
    assert worker.metrics.registry.get_sample_value("tandem_requests_total", labels) == 1


def test_a_background_task_that_fails_is_logged_and_starts_again(
    digits: Path, local: Callable[..., Local], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("serving.worker.RESTART_SECONDS", 0.0)
    worker, errors = local(digits).worker, [RuntimeError("unforeseen")] * 2

    async def run() -> None:
        started = asyncio.Event()

        async def watch() -> None:
            if errors:
                raise errors.pop()
            started.set()
            await asyncio.sleep(60)

        monkeypatch.setattr(worker.reloader, "watch", watch)
        await worker.start()
        await asyncio.wait_for(started.wait(), PATIENCE)
        await worker.stop()

    asyncio.run(run())
    assert caplog.text.count("a background task failed; it starts again in 0.0 s") == 2
    assert "RuntimeError: unforeseen" in caplog.text
