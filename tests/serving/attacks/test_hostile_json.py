"""JSON that is expensive to parse: the time of other requests, and the memory of the service."""

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from models.spec import DataSpec
from serving.api import json_examples
from serving.errors import RequestError
from serving.http.large_bodies import parsed_bytes
from serving.settings import Settings
from tests.serving.attacks import served as attacks
from tests.serving.attacks.delays import ATTEMPTS, GOOD, MAX_DELAY, attack
from tests.serving.bundles import DIGITS, IRIS, raw, weights
from tests.serving.conftest import Local, Served

Make = Callable[..., Local]
TYPE = {"content-type": "application/json"}
EXAMPLES = raw(DIGITS, 3000)
VALID = json.dumps({"inputs": EXAMPLES.tolist()}, separators=(",", ":")).encode()  # 1.1 MB
KEYS = 250_000
HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "escaped keys": (
        b"{" + b",".join(b'"\\u%04x%x":1' % (256 + key % 50_000, key) for key in range(KEYS)) + b"}",
        400,
        "the body has 250000 keys; allowed: 2",
    ),
    "one key": (b"{" + b",".join([b'"\\u0069":1'] * KEYS) + b"}", 400, "the body has 250000 keys; allowed: 2"),
    "colons in texts": (b'{"inputs":[' + b'"::",' * 400_000 + b'"\\\\"]}', 400, "found 400001 examples"),
    "backslashes": (b'{"inputs":"' + b"\\\\" * 2_000_000 + b':"}', 400, "found text of 2000001"),
    "objects": (b'{"inputs":[' + b'{"a":1},' * 200_000 + b'{"a":1,"a":1}]}', 400, "the body has 200003 keys"),
    "a key twice": (VALID[:-1] + b',"\\u0069nputs":0}', 400, "a key comes twice in an object"),
    "lists": (b'{"inputs":[' + b"[]," * 350_000 + b'{":":1}]}', 400, "found 350001 examples"),
    "many lists": (b'{"inputs":[' + b"[]," * 1_300_000 + b"[]]}", 413, "send fewer examples"),
    "wrong at the end": (VALID[:-7] + b"300]]]]}", 400, r"inputs[2999][7][7][0]: found the number 300"),
    "one value too many": (VALID[:-6] + b",7]]]]}", 400, r"inputs[2999][7][7]: found a list of 2"),
    "unknown features": (
        b'{"inputs":[{' + b",".join(b'"%x":1' % key for key in range(KEYS)) + b"}]}",
        400,
        "the body has 250001 keys",
    ),
}


@pytest.mark.parametrize("path", ["/predict", "/v2/models/tandem/infer"])
@pytest.mark.parametrize("name", HOSTILE)
def test_others_are_not_delayed(digits: Path, local: Make, name: str, path: str) -> None:
    body, status, reason = HOSTILE[name]
    (response,), longest = attack(local(digits), ("POST", path, {"content": body, "headers": TYPE}))
    assert longest <= MAX_DELAY
    assert response.status_code == status if path == "/predict" else response.status_code in (400, 413)
    assert path != "/predict" or reason in response.json()["error"]


@pytest.mark.parametrize("spec", [DIGITS, IRIS], ids=lambda spec: spec.name)
def test_a_wrong_number_among_a_million(spec: DataSpec) -> None:
    """It is found in the time of two or three valid batches; a loop over all numbers takes that of eight."""
    size = int(np.prod(spec.shape))
    valid = [1] * (1_000_000 // size * size)

    def cpu_seconds(numbers: list[object]) -> float:
        started = time.thread_time()
        with pytest.raises(RequestError, match=r"found .*; allowed: ") if numbers[-1] is None else nullcontext():
            json_examples.from_flat(numbers, spec)
        return time.thread_time() - started

    batches: tuple[list[object], ...] = ([*valid], [*valid[:-1], None])
    for _ in range(ATTEMPTS):
        times = [min(cpu_seconds(batch) for _ in range(3)) for batch in batches]
        if times[1] < 4.5 * times[0]:
            break
    assert times[1] < 4.5 * times[0]


def test_unknown_features_of_a_table(iris: Path, local: Make) -> None:
    """As many keys as complete rows would have."""
    body = b'{"inputs":[{' + b",".join(b'"\\u%04x%x":1' % (256 + key, key) for key in range(16_000)) + b"}]}"
    (response,), longest = attack(local(iris), ("POST", "/predict", {"content": body, "headers": TYPE}), good=GOOD[:1])
    assert response.status_code == 400
    assert response.json()["error"].startswith("inputs[0]: missing features: petal length, petal width, ")
    assert longest <= MAX_DELAY


@pytest.mark.parametrize("count", [24, 120])
def test_large_valid_bodies_all_at_once(served: Served, count: int) -> None:
    """As many are answered as memory is left for beside one that is parsed, however long they wait for their turn.

    The others are rejected for want of memory. The number does not depend on the order in which the parts of the bodies
    arrive: with fewer in progress none is rejected.
    """
    fitting = (Settings().max_held_bytes - parsed_bytes(VALID)) // len(VALID)
    assert 24 < fitting < 120
    responses, longest, most = attacks.attack(served, [("/predict", VALID, TYPE)] * count)
    statuses = [response.status_code for response in responses]
    assert statuses.count(200) + statuses.count(503) == count
    assert statuses.count(200) >= min(count, fitting)
    answered = next(response for response in responses if response.status_code == 200)
    found = [list(each["probabilities"].values()) for each in answered.json()["predictions"]]
    np.testing.assert_allclose(found, weights(DIGITS).expected(EXAMPLES), atol=1e-6)
    refused = [response for response in responses if response.status_code == 503]
    assert {each.json()["error"].partition(";")[0] for each in refused} <= {"too many large requests are in progress"}
    assert {each.headers["retry-after"] for each in refused} <= {"1"}
    assert longest <= MAX_DELAY
    assert most < attacks.limit()


def test_hostile_bodies_all_at_once(served: Served) -> None:
    bodies = [(body, status) for body, status, _ in HOSTILE.values()]
    responses, longest, most = attacks.attack(served, [("/predict", body, TYPE) for body, _ in bodies] * 3)
    assert {response.status_code for response in responses} <= {400, 413, 503}
    assert longest <= MAX_DELAY
    assert most < attacks.limit()
