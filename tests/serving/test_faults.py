"""Faults under load: replaced and invalid champions, a killed worker, a stop. No accepted request is lost."""

import asyncio
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.conftest import Local, serve

INPUTS = raw(DIGITS, 2)
BODY = json.dumps({"inputs": INPUTS.tolist()}).encode()
TYPE = {"content-type": "application/json"}


def post_until(url: str, end: float) -> list[httpx.Response]:
    """Responses to requests on one connection until the time `end`."""
    answers = []
    with httpx.Client() as client:
        while time.monotonic() < end:
            answers.append(client.post(f"{url}/predict", content=BODY, headers=TYPE))
    return answers


def replace_manifest(folder: Path, source: Path) -> None:
    """Replace the manifest atomically, without another change to the folder that a worker would count."""
    beside = folder.with_name("next.json")
    shutil.copy(source, beside)
    beside.replace(folder / "champion.json")


def test_replaced_and_invalid_champions_lose_no_request_and_mix_no_outputs(tmp_path: Path) -> None:
    folder = tmp_path / "champion"
    manifests = {"garbage": tmp_path / "garbage"}
    manifests["garbage"].write_bytes(os.urandom(100))
    for version in ("3", "2", "1"):
        write(folder, weights(DIGITS, int(version)), version)
        manifests[version] = Path(shutil.copy(folder / "champion.json", tmp_path / f"{version}.json"))
    with serve(folder, tmp_path / "home", TANDEM_WORKERS="2", TANDEM_POLL_SECONDS="0.1") as served:
        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(post_until, served.url, time.monotonic() + 4) for _ in range(4)]
            for change in ("2", "garbage", "3", "1"):
                time.sleep(0.8)
                replace_manifest(folder, manifests[change])
            answers = [answer for client in clients for answer in client.result()]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers["x-model-version"] for answer in answers} == {"1", "2", "3"}
        for answer in answers[::7]:
            expected = weights(DIGITS, int(answer.json()["model"]["version"])).expected(INPUTS)
            outputs = [list(row["probabilities"].values()) for row in answer.json()["predictions"]]
            np.testing.assert_allclose(outputs, expected, atol=1e-6)
        assert 'tandem_champions_total{result="refused"} 2.0' in httpx.get(f"{served.url}/metrics").text
        assert "rejected new champion, keeping torch-cnn 2: " in served.output.read_text()


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    folder = write(tmp_path / "champion", weights(DIGITS))
    with serve(folder, tmp_path / "home", TANDEM_WORKERS="1") as served:
        worker = psutil.Process(served.process.pid).children()[0]
        worker.kill()
        started = time.monotonic()
        answer = httpx.post(f"{served.url}/predict", content=BODY, headers=TYPE, timeout=20)
        assert answer.status_code == 200
        assert time.monotonic() - started < 15


def test_requests_in_flight_are_answered_before_a_stop(tmp_path: Path) -> None:
    folder = write(tmp_path / "champion", weights(DIGITS))
    with serve(folder, tmp_path / "home", TANDEM_WORKERS="1") as served:
        address = httpx.URL(served.url)
        with socket.create_connection((address.host, address.port or 80), timeout=20) as wire:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}"
            wire.sendall(head.encode() + b"\r\n\r\n" + BODY[:50])
            time.sleep(0.3)
            served.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            wire.sendall(BODY[50:])
            assert wire.recv(65536).startswith(b"HTTP/1.1 200")
        assert served.process.wait(20) == 0


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
        await asyncio.wait_for(started.wait(), 20)
        await worker.stop()

    asyncio.run(run())
    assert caplog.text.count("a background task failed; it starts again in 0.0 s") == 2
    assert "RuntimeError: unforeseen" in caplog.text
