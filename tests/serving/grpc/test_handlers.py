"""Reading of `ModelInferRequest`: hostile messages, and the memory of large ones."""

import asyncio
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.application import Application
from serving.errors import RequestError
from serving.grpc import handlers, message_structure, routes
from serving.grpc.messages import SERVICE, message
from serving.http.large_bodies import SMALL_BYTES
from serving.http.messages import CHUNK_BYTES
from tests.serving.attacks.delays import ATTEMPTS, MAX_DELAY, Stopwatch
from tests.serving.bundles import DIGITS, raw, weights, write
from tests.serving.conftest import ROOT, Local, unused_application

PEAK = """
import sys
from serving.grpc.messages import message
def read(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) * 1024
body = sys.stdin.buffer.read()
message("ModelInferRequest").FromString(b"")
open("/proc/self/clear_refs", "w").write("5")  # resets VmHWM
before = read("VmRSS")
given = message("ModelInferRequest").FromString(body)
print(read("VmHWM") - before)
"""
MANY = 100_000
INPUT = b"\x0a\x05image\x12\x05UINT8"


def length_delimited(tag: int, content: bytes) -> bytes:
    """A field with this content, of less than 268,435,456 bytes."""
    size = len(content)
    return bytes([tag, *(size >> shift & 127 | 128 for shift in (0, 7, 14)), size >> 21]) + content


def tensor(content: bytes) -> bytes:
    """A message in the field `inputs`."""
    return length_delimited(0x2A, content)


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
    return asyncio.run(gather(service, bodies))


async def gather(service: Local, bodies: Sequence[bytes]) -> list[int]:
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

    return await asyncio.gather(*map(call, bodies))


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
    """Raw data are in the message and twice in memory; there is one typed message at a time that is parsed."""
    body = request(raw(DIGITS, 2000), typed)
    parsed = message_structure.PER_BYTE * len(body) if typed else 0
    budget = 4 * ((1 if typed else 3) * len(body) - CHUNK_BYTES) + parsed
    service = local(digits, max_held_bytes=budget)
    assert infer(service, *[body] * 4) == [200] * 4
    assert service.worker.memory_budget.available == budget
    service = local(digits, max_held_bytes=budget - len(body) + CHUNK_BYTES)
    assert sorted(infer(service, *[body] * 4)) == [200] * 3 + [503]
    assert service.worker.memory_budget.available == budget - len(body) + CHUNK_BYTES
    assert service.worker.load.in_flight == 0


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x2a\x00" * MANY, 400),
        (b"\x22\x00" * MANY, 400),
        (b"\x3a\x00" * MANY, 400),
        (tensor(b"\x22\x00" * MANY), 400),
        (tensor(b"\x18\x01" * MANY), 400),
        (tensor(b"\x22\x00") * 900, 404),
        (b"\x3b" + b"\x00" * MANY, 400),
        (b"\x2a\xff\xff\xff\x0f" + b"\x00" * MANY, 400),
        (b"\x80" * MANY, 400),
    ],
)
def test_messages_of_many_parts_are_not_parsed(
    local: Any, digits: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, expected: int
) -> None:
    """Empty parts take up to 45 times their bytes."""
    parsed: list[int] = []
    parse = handlers._from_bytes
    monkeypatch.setattr(handlers, "_from_bytes", lambda name, body: (parsed.append(len(body)), parse(name, body))[1])
    service = local(digits)
    assert infer(service, content) == [expected]
    assert max(parsed, default=0) <= SMALL_BYTES
    assert service.worker.memory_budget.available == service.worker.memory_budget.total


NUMBERS = {  # the fields of one input
    "packed pixels": length_delimited(0x2A, length_delimited(0x22, b"\1" * 1_000_000)),
    "pixels": length_delimited(0x2A, b"\x20\1" * 500_000),
    "packed shape": length_delimited(0x1A, b"\1" * 1_000_000),
    "packed floats": length_delimited(0x2A, length_delimited(0x32, b"\1" * 1_000_000)),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("name", NUMBERS)
def test_the_bound_of_the_memory_of_numbers(name: str) -> None:
    body = length_delimited(0x2A, NUMBERS[name])
    assert message_structure.raw_bytes(body) == 0
    result = subprocess.run([sys.executable, "-c", PEAK], input=body, capture_output=True, check=True, cwd=ROOT)
    assert 0.05 * len(body) < int(result.stdout) < message_structure.PER_BYTE * len(body)


def test_a_wrong_pixel_at_the_end_delays_nobody(local: Any, tmp_path: Path) -> None:
    spec = replace(DIGITS, shape=(28, 28, 1))
    service = local(write(tmp_path, weights(spec)))
    images = np.ones((4096, 28, 28, 1), np.uint32)
    images[-1, -1, -1] = 300
    content = request(images, True)  # 3.2 MB
    for _ in range(ATTEMPTS):
        statuses, longest = asyncio.run(beside(service, [content] * 2))
        assert statuses == [400, 400]
        if longest <= MAX_DELAY:
            break
    assert longest <= MAX_DELAY


async def beside(service: Local, bodies: list[bytes]) -> tuple[list[int], float]:
    """The statuses of calls that are made at the same time, and the longest turn of the event loop meanwhile."""
    calls = asyncio.ensure_future(gather(service, bodies))
    longest = 0.0
    while not calls.done():
        stopwatch = Stopwatch(alone=True)
        await asyncio.sleep(0)
        longest = max(longest, stopwatch.seconds())
    return calls.result(), longest
