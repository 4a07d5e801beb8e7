"""Reading of `ModelInferRequest`: hostile messages, and the memory of large ones."""

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.application import Application
from serving.errors import RequestError
from serving.grpc import handlers, routes
from serving.grpc.messages import SERVICE, message
from tests.serving.bundles import DIGITS, raw
from tests.serving.conftest import Local, unused_application

MANY = 100_000
INPUT = b"\x0a\x05image\x12\x05UINT8"


def tensor(content: bytes) -> bytes:
    """A message in the field `inputs`; of less than 2,097,152 bytes."""
    size = len(content)
    return bytes([0x2A, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x2a\x00" * MANY, "inputs: allowed: a list of one tensor"),
        (b"\x22\x00" * MANY, f"found {MANY} parameters; allowed: 100"),
        (tensor(INPUT + b"\x18\x01\x18\x08\x18\x08\x18\x01") + b"\x32\x00" * MANY, "outputs: allowed: a list of one"),
        (tensor(INPUT + b"\x18\x01" * MANY), "inputs[0].shape: found "),
        (tensor(INPUT + b"\x22\x00" * MANY), f"found {MANY} parameters; allowed: 100"),
    ],
    ids=["inputs", "parameters", "outputs", "dimensions", "parameters of the input"],
)
def test_the_cost_of_a_rejection_does_not_grow_with_the_message(content: bytes, expected: str) -> None:
    given = message("ModelInferRequest").FromString(content)
    tracemalloc.start()
    try:
        with pytest.raises(RequestError) as caught:
            handlers._inputs(given, DIGITS, 4096)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert expected in str(caught.value)
    assert peak < 100_000


def infer(service: Local, *bodies: bytes) -> list[int]:
    """The statuses of calls that are made at the same time."""
    application = Application(unused_application, service.worker.settings, lambda: service.worker, routes.find)

    async def call(body: bytes) -> int:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(part: Any) -> None:
            sent.append(part)

        path = f"/{SERVICE}/ModelInfer"
        await application({"type": "http", "method": "POST", "path": path, "headers": []}, receive, send)
        return int(sent[0]["status"])

    async def go() -> list[int]:
        return await asyncio.gather(*map(call, bodies))

    return asyncio.run(go())


def request(inputs: np.ndarray, typed: bool) -> bytes:
    given = message("ModelInferRequest")(model_name="tandem")
    added = given.inputs.add(name="image", datatype="UINT8", shape=inputs.shape)
    if typed:
        added.contents.uint_contents.extend(inputs.ravel().tolist())
    else:
        given.raw_input_contents.append(inputs.tobytes())
    written: bytes = given.SerializeToString()
    return written


@pytest.mark.parametrize("typed", [True, False])
def test_large_messages_count_in_the_memory_budget(local: Any, digits: Path, typed: bool) -> None:
    body = request(raw(DIGITS, 2000), typed)
    budget = 4 * len(body)
    service = local(digits, max_held_bytes=budget)
    assert infer(service, *[body] * 4) == [200] * 4
    assert service.worker.memory_budget.available == budget
    service = local(digits, max_held_bytes=budget - 1)
    assert sorted(infer(service, *[body] * 4)) == [200] * 3 + [503]
    assert service.worker.memory_budget.available == budget - 1
    assert service.worker.load.in_flight == 0
