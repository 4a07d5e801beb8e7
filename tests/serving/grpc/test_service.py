"""gRPC of the served process: all workers, beside HTTP, replaced champions, and a stop."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pipelines.execution.ports import free_port
from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.conftest import PATIENCE, Served, serve, wait_for
from tests.serving.test_faults import Load, posts

triton = pytest.importorskip("tritonclient.grpc")
INPUTS = raw(DIGITS, 2)
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]  # otherwise all clients of a process share one


def infer(client: Any) -> Any:
    tensor = triton.InferInput("image", list(INPUTS.shape), "UINT8")
    tensor.set_data_from_numpy(INPUTS)
    return client.infer("tandem", [tensor], client_timeout=PATIENCE)


@contextlib.contextmanager
def calls(address: str) -> Iterator[Callable[[], tuple[str, np.ndarray]]]:
    """Calls on one connection, which return version and outputs."""

    def call() -> tuple[str, np.ndarray]:
        result = infer(client)
        return result.get_response().model_version, result.as_numpy("probabilities")

    with triton.InferenceServerClient(address, channel_args=OWN_CONNECTION) as client:
        yield call


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
        wait_for(lambda: len(listeners(served, port)) == 2)
        with Load(*[partial(calls, address)] * 4) as load, Load(*[partial(posts, served.url)] * 2) as beside:
            for version in ("1", "2", "3"):
                if version != "1":
                    write(folder, weights(DIGITS, int(version)), version)
                load.wait_for(lambda answer, version=version: answer[0] == version)
            beside.wait_for(lambda answer: answer.status_code == 200)
        answers = [answer for answers in load.answers for answer in answers]
        assert {answer.status_code for answers in beside.answers for answer in answers} == {200}
        assert {version for version, _ in answers} == {"1", "2", "3"}
        for version, outputs in answers[::7]:
            np.testing.assert_allclose(outputs, weights(DIGITS, int(version)).expected(INPUTS), atol=1e-6)
        expected = f'tandem_requests_total{{endpoint="grpc_infer",status="200"}} {len(answers)}.0'
        # Each worker updates its counters once a second.
        wait_for(lambda: expected in httpx.get(f"{served.url}/metrics").text)
        with grpc.insecure_channel(address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            with ThreadPoolExecutor(4) as pool:
                counts = [0] * 4
                stopped = [pool.submit(answers_until_stop, address, counts, index) for index in range(4)]
                wait_for(lambda: min(counts) > 0 or any(call.done() for call in stopped))
                started = time.monotonic()
                served.process.terminate()
                assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
                for call in stopped:
                    call.result()
            assert served.process.wait(PATIENCE) == 0
            # What watches the health does not delay the stop; after 30 s the workers would be killed.
            assert time.monotonic() - started < 25
    assert min(counts) > 0
    logged = [line for line in served.output.read_text().splitlines() if '"endpoint":"grpc_infer"' in line]
    assert len(logged) == len(answers) + sum(counts)  # every call that was accepted has been answered


def answers_until_stop(address: str, counts: list[int], index: int) -> None:
    """Count in `counts[index]` the calls that are answered before new ones are refused.

    gRPC's core ends those that it has received and not accepted as CANCELLED.
    """
    with triton.InferenceServerClient(address, channel_args=OWN_CONNECTION) as client:
        while True:
            try:
                infer(client)
                counts[index] += 1
            except triton.InferenceServerException as error:
                if error.status() in (str(grpc.StatusCode.UNAVAILABLE), str(grpc.StatusCode.CANCELLED)):
                    return
                raise
