"""Large JSON bodies: the bound of the memory that parsing takes, their order, and what they leave behind."""

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from serving.http.large_bodies import SMALL_BYTES, parsed_bytes
from serving.http.messages import CHUNK_BYTES
from tests.serving.bundles import DIGITS, raw
from tests.serving.conftest import Local

Make = Callable[..., Local]
TYPE = {"content-type": "application/json"}
SIZE = 1_000_000
LARGE = json.dumps({"inputs": raw(DIGITS, 500).tolist()}).encode()
BODIES = {  # what is repeated
    "pixels": "[0],",
    "digits": "0,",
    "integers": "123456,",
    "numbers": "1.5,",
    "texts": '"ab",',
    "characters": '"a",',
    "accents": '"éü",',
    "lists": "[],",
    "lists of lists": "[[]],",
    "deep lists": "[" * 500 + "]" * 500 + ",",
    "objects": "{},",
    "objects with a key": '{"a":1},',
    "objects of objects": '{"":{}},',
    "deep objects": '{"":' * 500 + "1" + "}" * 500 + ",",
    "six keys": '{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6},',
    "one text": "\U0001f600" + "a" * SIZE,
}
PEAK = """
import sys, orjson
def read(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) * 1024
body = sys.stdin.buffer.read()
open("/proc/self/clear_refs", "w").write("5")  # resets VmHWM
before = read("VmRSS")
document = orjson.loads(body)
print(read("VmHWM") - before)
"""


def large(name: str) -> bytes:
    unit = BODIES[name]
    if name == "one text":
        return json.dumps({"inputs": unit}, ensure_ascii=False).encode()
    count = SIZE // len(unit)
    return b'{"inputs":[' + (unit * count).rstrip(",").encode() + b"]}"


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("name", BODIES)
def test_the_bound_of_the_memory(name: str) -> None:
    body = large(name)
    result = subprocess.run([sys.executable, "-c", PEAK], input=body, capture_output=True, check=True)
    assert 0.1 * parsed_bytes(body) < int(result.stdout) < parsed_bytes(body)


def test_distinct_keys_are_within_the_bound() -> None:
    body = json.dumps({f"{number:x}": 1 for number in range(100_000)}).encode()
    result = subprocess.run([sys.executable, "-c", PEAK], input=body, capture_output=True, check=True)
    assert int(result.stdout) < parsed_bytes(body)


@pytest.mark.parametrize("path", ["/predict", "/v2/models/tandem/infer", "/v2/repository/index"])
def test_json_that_takes_more_memory_than_there_is(digits: Path, local: Make, path: str) -> None:
    service = local(digits)
    response = service.post(path, content=b'{"inputs":[' + b"[]," * 1_300_000 + b"[]]}", headers=TYPE)
    assert response.status_code == 413
    assert " MB of memory to parse; there are 101 MB" in response.json()["error"]


def test_raw_data_do_not_count_as_json(digits: Path, local: Make) -> None:
    """Bytes of lists and objects, as pixels."""
    count = 4096
    tensor = {"name": "image", "datatype": "UINT8", "shape": [count, 8, 8, 1]}
    header = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": count * 64}}]}).encode()
    headers = {"inference-header-content-length": str(len(header))}
    service = local(digits, max_held_bytes=400_000)
    response = service.post("/v2/models/tandem/infer", content=header + b"{[" * (count * 32), headers=headers)
    assert response.status_code == 200, response.text


def test_memory_in_use_is_not_available(digits: Path, local: Make) -> None:
    service = local(digits)
    service.worker.memory_budget.available = size = len(LARGE) - CHUNK_BYTES + parsed_bytes(LARGE) - 1
    response = service.post("/predict", content=LARGE, headers=TYPE)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    service.worker.memory_budget.available += 1
    assert service.post("/predict", content=LARGE, headers=TYPE).status_code == 200
    assert service.worker.memory_budget.available == size + 1
    assert gc.isenabled()


def test_bodies_that_wait_share_the_memory_for_parsing(digits: Path, local: Make) -> None:
    """Those that are accepted wait longer than others may take; there is memory for three, and one that is parsed."""
    memory = 3 * (len(LARGE) - CHUNK_BYTES) + parsed_bytes(LARGE)
    service = local(digits, max_held_bytes=memory, timeout_seconds=1e-3)

    async def go() -> list[int]:
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=TYPE) as client:
            tasks = [asyncio.create_task(client.post("/predict", content=LARGE)) for _ in range(9)]
            while not all(task.done() for task in tasks):
                service.worker.deadlines.cancel_expired()
                await asyncio.sleep(0.001)
            return [task.result().status_code for task in tasks]

    assert asyncio.run(go()) == [200] * 3 + [503] * 6
    assert service.worker.memory_budget.available == memory


def test_waiting_bodies_are_no_load_for_others(digits: Path, local: Make) -> None:
    """Large bodies wait for one another, small ones for at most one of them; a body that is rejected delays none."""
    assert len(LARGE) > SMALL_BYTES
    service = local(digits, max_wait_seconds=1e-9)  # eight requests, of which one is measured, would be too many
    hostile = [LARGE] * 10 + [LARGE[:-1]] * 5 + [LARGE] * 5

    async def go() -> tuple[list[int], int, list[int]]:
        transport = httpx.ASGITransport(service.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=TYPE) as client:
            order: list[int] = []

            async def post(number: int, content: bytes) -> int:
                response = await client.post("/predict", content=content)
                order.append(number)
                return response.status_code

            tasks = [asyncio.create_task(post(number, content)) for number, content in enumerate(hostile)]
            while len(order) < 2:
                await asyncio.sleep(0.001)
            small = await client.post("/predict", json={"inputs": raw(DIGITS, 1).tolist()})
            finished = len(order)
            assert finished < len(hostile)
            return await asyncio.gather(*tasks), small.status_code, order

    statuses, small, order = asyncio.run(go())
    assert statuses == [200] * 10 + [400] * 5 + [200] * 5
    assert small == 200
    assert order == sorted(order)
    assert service.worker.load.in_flight == 0
    assert gc.isenabled()
