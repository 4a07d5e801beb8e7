"""gRPC of the served process: all workers, beside HTTP, replaced champions, and a stop."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.conftest import Served, free_port, serve
from tests.serving.test_faults import post_until

triton = pytest.importorskip("tritonclient.grpc")
INPUTS = raw(DIGITS, 2)
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]  # otherwise all clients of a process share one


def infer(client: Any) -> Any:
    tensor = triton.InferInput("image", list(INPUTS.shape), "UINT8")
    tensor.set_data_from_numpy(INPUTS)
    return client.infer("tandem", [tensor], client_timeout=20)


def infer_until(address: str, end: float) -> list[tuple[str, np.ndarray]]:
    """Versions and outputs of calls on one connection until the time `end`."""
    answers = []
    with triton.InferenceServerClient(address, channel_args=OWN_CONNECTION) as client:
        while time.monotonic() < end:
            result = infer(client)
            answers.append((result.get_response().model_version, result.as_numpy("probabilities")))
    return answers


def listeners(served: Served, port: int) -> list[psutil.Process]:
    """The workers that listen on the port."""
    return [
        worker
        for worker in psutil.Process(served.process.pid).children()
        if any(each.laddr.port == port and each.status == "LISTEN" for each in worker.net_connections())
    ]


def test_all_workers_answer_beside_http_and_through_swaps_and_a_stop(tmp_path: Path) -> None:
    folder, port = write(tmp_path / "champion", weights(DIGITS, 1)), free_port()
    address = f"127.0.0.1:{port}"
    settings = {"TANDEM_WORKERS": "2", "TANDEM_POLL_SECONDS": "0.1", "TANDEM_GRPC_PORT": str(port)}
    settings["TANDEM_LOG_SHARE"] = "1"
    with serve(folder, tmp_path / "home", **settings) as served:
        deadline = time.monotonic() + 30
        while len(listeners(served, port)) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(listeners(served, port)) == 2
        with ThreadPoolExecutor(6) as pool:
            end = time.monotonic() + 3
            calls = [pool.submit(infer_until, address, end) for _ in range(4)]
            posts = [pool.submit(post_until, served.url, end) for _ in range(2)]
            for version in ("2", "3"):
                time.sleep(0.8)
                write(folder, weights(DIGITS, int(version)), version)
            answers = [answer for call in calls for answer in call.result()]
            assert {answer.status_code for post in posts for answer in post.result()} == {200}
        assert {version for version, _ in answers} == {"1", "2", "3"}
        for version, outputs in answers[::7]:
            np.testing.assert_allclose(outputs, weights(DIGITS, int(version)).expected(INPUTS), atol=1e-6)
        expected = f'tandem_requests_total{{endpoint="grpc_infer",status="200"}} {len(answers)}.0'
        deadline = time.monotonic() + 20
        while expected not in (text := httpx.get(f"{served.url}/metrics").text) and time.monotonic() < deadline:
            time.sleep(0.2)  # each worker updates its counters once a second
        assert expected in text
        with grpc.insecure_channel(address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            started = time.monotonic()
            with ThreadPoolExecutor(4) as pool:
                stopped = [pool.submit(answers_until_stop, address) for _ in range(4)]
                time.sleep(0.5)
                served.process.terminate()
                assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
                counts = [call.result() for call in stopped]
            assert served.process.wait(20) == 0
            assert time.monotonic() - started < 9  # what watches the health does not delay the stop
    assert min(counts) > 0
    logged = [line for line in served.output.read_text().splitlines() if '"endpoint":"grpc_infer"' in line]
    assert len(logged) == len(answers) + sum(counts)  # every call that was accepted has been answered


def answers_until_stop(address: str) -> int:
    """The number of calls that were answered before new ones were refused.

    gRPC's core ends those that it has received and not accepted as CANCELLED.
    """
    with triton.InferenceServerClient(address, channel_args=OWN_CONNECTION) as client:
        for count in range(100_000):
            try:
                infer(client)
            except triton.InferenceServerException as error:
                if error.status() in (str(grpc.StatusCode.UNAVAILABLE), str(grpc.StatusCode.CANCELLED)):
                    return count
                raise
    raise AssertionError("the service did not stop")
