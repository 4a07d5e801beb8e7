"""Limits and API keys: in this process, and over sockets where the transport matters."""

import asyncio
import errno
import io
import json
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models.errors import InputError
from models.manifest import CHECKED
from models.spec import DataSpec
from pipelines.execution.ports import free_port
from serving.http.cors import allow
from serving.process import preflight
from serving.scheduling.load_estimate import LoadEstimate
from serving.settings import Settings
from tests.serving.attacks.served import memory
from tests.serving.bundles import DIGITS, HOUSES, IRIS, PRICES, raw, weights, write
from tests.serving.conftest import PATIENCE, Local, Served

Make = Callable[..., Local]
KEY = "correct-horse"
TYPE = {"content-type": "application/json"}
BODY: dict[str, Any] = {"json": {"inputs": raw(DIGITS, 1).tolist()}}


def exchange(served: Served, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send pieces over a new socket; the response until it is closed."""
    address = httpx.URL(served.url)
    with socket.create_connection((address.host, address.port or 80), timeout=PATIENCE) as wire:
        for piece in pieces:
            wire.sendall(piece)
            time.sleep(pause)
        response = b""
        while chunk := wire.recv(65536):
            response += chunk
            if b"\r\n\r\n" in response and len(response) > 200:
                break
        return response


def head(*lines: str) -> bytes:
    return "\r\n".join(("POST /predict HTTP/1.1", "Host: x", "Content-Type: application/json", *lines, "", "")).encode()


def test_a_hundred_megabytes_are_rejected_unread(strict: Served) -> None:
    before = memory(strict)
    response = httpx.post(f"{strict.url}/predict", content=b" " * 100_000_000)
    assert response.status_code == 413
    assert memory(strict) - before < 30e6


def test_a_hundred_megabytes_in_chunks_are_rejected(strict: Served) -> None:
    before = memory(strict)
    chunks = (b" " * 1_000_000 for _ in range(100))
    response = httpx.post(f"{strict.url}/predict", content=chunks, headers=TYPE)
    assert response.status_code == 413
    assert memory(strict) - before < 30e6


def test_a_declared_size_is_rejected_before_the_body_is_sent(strict: Served) -> None:
    response = exchange(strict, head("Content-Length: 100000000"))
    assert response.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in response


def test_a_slow_body_times_out(strict: Served) -> None:
    response = exchange(strict, head("Content-Length: 1000"), b"{")
    assert response.startswith(b"HTTP/1.1 408")
    assert b"within 2.0 s" in response


def test_a_body_in_chunks_is_complete(strict: Served) -> None:
    content = json.dumps(BODY["json"]).encode()
    half = len(content) // 2
    response = exchange(strict, head(f"Content-Length: {len(content)}"), content[:half], content[half:], pause=0.1)
    assert response.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("length", ["-1", "abc", "1, 2", "99999999999999999999999"])
def test_wrong_lengths_are_rejected(strict: Served, length: str) -> None:
    response = exchange(strict, head(f"Content-Length: {length}") + b"{}")
    assert response.split(b" ")[1] in (b"400", b"413")


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100, b"PRI * HTTP/2.0\r\n\r\n"]
)
def test_noise_is_ignored(strict: Served, noise: bytes) -> None:
    exchange(strict, noise + b"\r\n\r\n")
    assert httpx.post(f"{strict.url}/predict", **BODY).status_code == 200


def test_disconnected_clients_are_ignored(strict: Served) -> None:
    address = httpx.URL(strict.url)
    for _ in range(20):
        with socket.create_connection((address.host, address.port or 80)) as wire:
            wire.sendall(head("Content-Length: 1000") + b"{")
    assert httpx.post(f"{strict.url}/predict", **BODY).status_code == 200


def test_unknown_paths_do_not_grow_the_metrics(strict: Served) -> None:
    for path in ("first", "metrics"):
        httpx.get(f"{strict.url}/{path}")
    before = len(httpx.get(f"{strict.url}/metrics").text.splitlines())
    with httpx.Client() as client:
        for number in range(50):
            assert client.get(f"{strict.url}/path/{number}").status_code == 404
    assert len(httpx.get(f"{strict.url}/metrics").text.splitlines()) == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"x-api-key": "wrong"}, 401),
        ({"x-api-key": ""}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": f"Basic {KEY}"}, 401),
        ({"authorization": KEY}, 401),
        ({"authorization": f"Bearer{KEY}"}, 401),
        ({"authorization": f"{KEY} Bearer"}, 401),
        ({"x-api-key": KEY}, 200),
        ({"authorization": f"Bearer {KEY}"}, 200),
    ],
)
def test_the_api_key(digits: Path, local: Make, headers: dict[str, str], status: int) -> None:
    service = local(digits, api_key=KEY)
    assert service.post("/predict", **BODY, headers=headers).status_code == status
    models = ("/v2/models/tandem", "/v2/models/tandem/ready", "/v2/models/tandem/versions/1/ready")
    for path in ("/model", "/metrics", "/schema.json", "/v2", *models):
        assert service.get(path, headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v2/health/ready", "/docs", "/docs.json"])
def test_health_and_documentation_need_no_key(digits: Path, local: Make, path: str) -> None:
    assert local(digits, api_key=KEY).get(path).status_code == 200


@pytest.mark.parametrize(("key", "shown"), [("", True), (KEY, False)])
def test_the_stored_example_is_shown_where_no_key_is_required(digits: Path, local: Make, key: str, shown: bool) -> None:
    paths = local(digits, api_key=key).get("/docs.json").json()["paths"]
    for path in ("/predict", "/v2/models/tandem/infer"):
        example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]["inputs"]
        assert np.any(example[0]["data"] if path.startswith("/v2") else example) == shown


@pytest.mark.parametrize("spec", [DIGITS, IRIS, PRICES, HOUSES], ids=lambda spec: spec.name)
def test_the_document_without_the_key_has_no_names(tmp_path: Path, local: Make, spec: DataSpec) -> None:
    spec = replace(spec, labels=tuple(f"label {label}" for label in spec.labels))
    service = local(write(tmp_path, weights(spec)), api_key=KEY)
    categories = [name for names in spec.categories for name in names if name not in ("true", "false")]
    names = [*spec.labels, *spec.features, spec.target, spec.name, *categories]
    anonymous, complete = service.get("/docs.json"), service.get("/docs.json", headers={"x-api-key": KEY})
    assert [name for name in names if re.search(rf"\b{name}\b", anonymous.text)] == []
    assert [name for name in names if name not in complete.text and name != spec.target] == []
    example = complete.json()["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert service.post("/predict", json=example, headers={"x-api-key": KEY}).status_code == 200


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////home/user/mlflow.db", "sqlite"),
        ("sqlite:///mlflow.db", "sqlite"),
        ("/home/user/mlruns", "file"),
        ("file:///home/user/mlruns", "file"),
        ("postgresql://user:password@host/db", "postgresql"),
        ("https://user:password@tracking.example:5000/mlflow", "https://tracking.example:5000/mlflow"),
        ("http://tracking:5000", "http://tracking:5000"),
    ],
)
def test_the_tracking_uri_has_no_local_path_and_no_credentials(
    tmp_path: Path, local: Make, uri: str, shown: str
) -> None:
    commit = {"git_commit": "2", "git_dirty": False}
    provenance = {"run_id": "1", **commit, "data_sha256": "3", "created": "2026-12-01", "tracking_uri": uri}
    folder = write(tmp_path, weights(DIGITS), provenance=provenance)
    assert local(folder).get("/model").json()["provenance"] == {**provenance, "tracking_uri": shown}


def test_readiness_contains_the_age_of_the_last_check_of_the_registry(digits: Path, local: Make) -> None:
    service = local(digits)
    assert service.get("/readyz").json() == {"ready": True}
    (digits / CHECKED).touch()
    content = service.get("/readyz").json()
    assert 0 <= content.pop("registry_age_seconds") < 5
    assert content == {"ready": True}


def test_not_ready(digits: Path, local: Make) -> None:
    service = local(digits)
    service.worker.ready = False
    for path in ("/readyz", "/v2/health/ready", "/v2/models/tandem/ready"):
        assert service.get(path).status_code == 503
    assert service.get("/livez").status_code == 200


def test_requests_beyond_the_limit_are_rejected(digits: Path, local: Make) -> None:
    service = local(digits, max_waiting=10)
    responses = service.many(*[("POST", "/predict", BODY)] * 30)
    statuses = [response.status_code for response in responses]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 10
    assert all(response.headers["retry-after"] == "1" for response in responses if response.status_code == 503)


def test_requests_with_a_long_expected_wait_are_rejected(digits: Path, local: Make) -> None:
    service = local(digits, max_wait_seconds=1e-9)
    statuses = [response.status_code for response in service.many(*[("POST", "/predict", BODY)] * 30)]
    assert statuses.count(503) == 0  # no load has been measured yet
    statuses = [response.status_code for response in service.many(*[("POST", "/predict", BODY)] * 30)]
    assert statuses.count(200) >= 8
    assert statuses.count(503) >= 1


def test_the_load_estimate_is_that_of_a_busy_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("serving.scheduling.load_estimate.time.perf_counter", lambda: next(clock) * 0.1)
    load = LoadEstimate()
    for _ in range(10):
        load.arrived()
    for _ in range(1000):
        load.answered()
        load.arrived()
    assert load.expected_wait() == pytest.approx(1.0, rel=0.01)
    for _ in range(10):
        load.answered()
    for _ in range(100):
        next(clock)  # nothing to do for ten seconds
    for _ in range(11):
        load.arrived()
    load.answered()
    assert load.expected_wait() == pytest.approx(1.0, rel=0.01)


def test_unfinished_bodies_do_not_count_as_load(digits: Path, local: Make) -> None:
    """Twenty slow clients and one that sends a request now and then."""
    service = local(digits)

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    async def go() -> set[int]:
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            headers = {"content-type": "application/json"}
            slow = [asyncio.create_task(client.post("/predict", content=never(), headers=headers)) for _ in range(20)]
            found = set()
            for _ in range(12):
                await asyncio.sleep(0.15)
                found.add((await client.post("/predict", **BODY)).status_code)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            return found

    assert asyncio.run(go()) == {200}
    assert service.worker.load.in_flight == 0


def test_chunked_bodies_share_a_memory_budget(digits: Path, local: Make) -> None:
    """They count with what they have beyond 64 KiB: small ones are accepted with none left."""
    service = local(digits, max_held_bytes=50_000)

    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 20_000
            await asyncio.sleep(0)

    async def small() -> AsyncIterator[bytes]:
        content = json.dumps(BODY["json"]).encode()
        yield content[:10]
        yield content[10:]

    async def go() -> list[int]:
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            headers = {"content-type": "image/png"}
            asked = (client.post("/predict/image", content=pieces(count), headers=headers) for count in (4, 4, 4, 30))
            return [response.status_code for response in await asyncio.gather(*asked)]

    statuses = asyncio.run(go())
    assert set(statuses) == {400, 503}
    assert statuses[3] == 503
    assert service.worker.memory_budget.available == 50_000
    service.worker.memory_budget.available = 0
    assert service.post("/predict", content=small(), headers=TYPE).status_code == 200


def test_a_slow_response_times_out(digits: Path, local: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    service = local(digits, timeout_seconds=0.1)
    service.worker.batcher.predict = lambda *_: asyncio.sleep(60)  # type: ignore[assignment,method-assign]

    async def go() -> httpx.Response:
        watch = asyncio.create_task(service.worker.deadlines.watch())
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(service.application), base_url="http://test"
        ) as client:
            response = await client.post("/predict", **BODY)
        watch.cancel()
        return response

    response = asyncio.run(go())
    assert response.status_code == 503
    assert "0.1 s" in response.json()["error"]
    assert len(service.worker.deadlines) == 0


def test_only_configured_origins_are_allowed(digits: Path, local: Make) -> None:
    service = local(digits)
    origin = {"origin": "http://friend"}
    assert "access-control-allow-origin" not in service.post("/predict", **BODY, headers=origin).headers
    service.application = allow(service.application, ("http://friend",))  # type: ignore[assignment]
    response = service.post("/predict", **BODY, headers=origin)
    assert response.headers["access-control-allow-origin"] == "http://friend"
    assert "retry-after" in response.headers["access-control-expose-headers"]
    assert (
        "access-control-allow-origin" not in service.post("/predict", **BODY, headers={"origin": "http://foe"}).headers
    )
    preflight = origin | {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    assert service.many(("OPTIONS", "/predict", {"headers": preflight}))[0].status_code == 200


def test_the_access_log_has_one_line_per_request_without_content(
    digits: Path, local: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    service = local(digits, log_share=1.0)
    service.post("/predict", **BODY, headers={"x-request-id": "mine"})
    service.get("/nothing")
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["endpoint"], first["status"], first["request_id"]) == ("predict", 200, "mine")
    assert (second["endpoint"], second["status"]) == ("unknown", 404)
    assert "inputs" not in first


def test_a_line_of_the_access_log_that_cannot_be_written_fails_no_request(
    digits: Path, local: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first of them is reported."""

    class Full(io.StringIO):
        """As a file on a full disk."""

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    service, observed = local(digits, log_share=1.0), list[Any]()
    monkeypatch.setattr(service.worker, "observe", lambda *given: observed.append(given))
    monkeypatch.setattr(sys, "stdout", Full())
    for _ in range(2):
        assert service.post("/predict", **BODY).status_code == 200
    assert len(observed) == 2
    reported = [message for message in caplog.messages if message.startswith("access log")]
    assert reported == ["access log: lines are lost: [Errno 28] No space left on device"]


@pytest.mark.parametrize(
    ("codings", "status"), [(["Identity"], 200), (["gzip"], 415), (["gzip", "identity"], 415), (["identity"] * 2, 415)]
)
def test_content_encodings(digits: Path, local: Make, codings: list[str], status: int) -> None:
    headers = [("content-encoding", coding) for coding in codings]
    assert local(digits).post("/predict", **BODY, headers=headers).status_code == status


def test_a_content_length_that_is_no_number(digits: Path, local: Make) -> None:
    response = local(digits).post("/predict", content=b"{}", headers=[(b"content-length", b"\xff\xfe")])
    assert response.status_code == 413


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
@pytest.mark.parametrize(("has_grpc", "needed"), [(False, 1536), (True, 2560)])
def test_as_many_files_may_be_open_as_connections_need(
    digits: Path, monkeypatch: pytest.MonkeyPatch, has_grpc: bool, needed: int
) -> None:
    """Without one the worker could decode no image, and would take a champion that it cannot read for a damaged one."""
    import resource

    limits = {"set": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["set"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.update(set=limit))
    settings = Settings(champion=digits, grpc_port=free_port() if has_grpc else 0)
    preflight.check(settings)
    assert limits["set"] == (needed, 4096)
    limits["set"] = (256, 1024)
    with pytest.raises(InputError, match=f"TANDEM_MAX_CONNECTIONS: 1024: a worker needs {needed} open files, .* 1024"):
        preflight.check(settings)
    limits["set"] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    preflight.check(settings)
