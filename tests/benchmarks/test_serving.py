"""The benchmark's statistics, its reading of answers, and that every peer gives the numbers that Tandem gives."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("litserve", reason="the dependency group `benchmarks` is not installed")

from benchmarks.serving import champions, load, servers, wrk
from benchmarks.serving.jobs import VARIANTS
from benchmarks.serving.load import Job, Measured
from benchmarks.serving.measurements import WRK, Cell, Record, best_peer, medians, record, worse

CELL = Cell("digits", "JSON", 1, 8, "Tandem")


def make(server: str, number: int, per_second: float, errors: int = 0) -> Record:
    measured = Measured(per_second, 2.0, 9.0, 100, 2, errors, 0.004)
    return record(replace(CELL, server=server), number, measured, server_seconds=0.01)


def test_cpu_time_is_that_of_one_request() -> None:
    assert make("Tandem", 0, 100.0).server_us == pytest.approx(100)
    assert make("Tandem", 0, 100.0).client_us == pytest.approx(40)


def test_medians_are_over_the_rounds_and_errors_add_up() -> None:
    rounds = [make("Tandem", number, speed, errors=1) for number, speed in enumerate((300.0, 10.0, 200.0))]
    found = medians([*rounds, make("LitServe", 0, 50.0)])
    assert found[CELL].per_second == 200
    assert (found[CELL].errors, found[CELL].answered, found[CELL].round) == (3, 300, 3)
    assert found[replace(CELL, server="LitServe")].per_second == 50


def test_the_best_peer_is_the_fastest_without_errors_in_the_same_place() -> None:
    found = medians([make("Tandem", 0, 9.0), make("a", 0, 5.0), make("b", 0, 7.0), make("c", 0, 8.0, errors=1)])
    elsewhere = replace(CELL, server="d", connections=64)
    found[elsewhere] = replace(make("d", 0, 99.0), cell=elsewhere)
    best = best_peer(found, CELL)
    assert best is not None
    assert best.cell.server == "b"
    assert best_peer(medians([make("Tandem", 0, 9.0)]), CELL) is None


@pytest.mark.parametrize("kind", servers.EVERY, ids=lambda kind: str(kind.__name__))
def test_every_server_gives_the_numbers_of_onnx_runtime(kind: servers.Kind, tmp_path: Path) -> None:
    if kind is servers.mlserver and not has_mlserver():
        pytest.skip("MLServer's own environment has not been made; the benchmark makes it")
    served = champions.make_fashion(tmp_path / "champion")
    server = kind(served, 1, tmp_path)
    images = champions.pictures(served.spec, VARIANTS)[:, np.newaxis]
    expected = np.stack([served.expected(each) for each in images])
    with servers.run(server, tmp_path / "log.txt"):
        for payload, call in server.calls.items():
            requests = tuple(call.request(each) for each in images)
            job = Job(server.port, requests, expected, call.read, 2, 10.0, most=2 * load.CHECK_EVERY)
            found = load.measure(job)
            assert (found.errors, found.first_error) == (0, ""), payload
            assert found.checked >= 2, payload


def test_the_slower_client_is_reported() -> None:
    slow, fast = make("Tandem", 0, 5.0), make("Tandem", 0, 9.0)
    both = medians([fast, replace(slow, cell=replace(CELL, client=WRK))])
    assert len(both) == 2
    assert [each.per_second for each in worse(both).values()] == [5.0]
    assert worse(both).keys() == {CELL}


@pytest.mark.skipif(not wrk.is_installed(), reason="wrk is not installed")
def test_wrk_sends_all_requests_in_turn(tmp_path: Path) -> None:
    """And counts what is no success as an error."""
    served = champions.make_fashion(tmp_path / "champion")
    server = servers.fastapi(served, 1, tmp_path)
    images = champions.pictures(served.spec, 4)[:, np.newaxis]
    call = server.calls["binary"]
    good = tuple(call.request(each) for each in images)
    with servers.run(server, tmp_path / "log.txt"):
        found, failed = (
            wrk.measure(Job(server.port, requests, np.zeros(0), call.read, 32, 1.0))
            for requests in (good, (*good[:3], b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"))
        )
    assert (found.errors, found.first_error) == (0, "")
    assert found.answered >= 100
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.client_seconds > 0
    assert failed.errors / failed.answered == pytest.approx(0.25, abs=0.02)


def test_wrong_numbers_are_found(tmp_path: Path) -> None:
    served = champions.make_fashion(tmp_path / "champion")
    server = servers.fastapi(served, 1, tmp_path)
    images = champions.pictures(served.spec, 1)
    call = server.calls["binary"]
    with servers.run(server, tmp_path / "log.txt"):
        job = Job(server.port, (call.request(images),), np.zeros((1, 1, 10)), call.read, 1, 5.0, most=10)
        assert load.measure(job).first_error == "wrong numbers"


def has_mlserver() -> bool:
    """Whether MLServer's environment is there already: a test downloads nothing."""
    command = servers.mlserver_command("python", "-c", "import mlserver")
    environment = os.environ | {"UV_OFFLINE": "1"}
    return bool(shutil.which("uv")) and not subprocess.run(command, env=environment, check=False).returncode
