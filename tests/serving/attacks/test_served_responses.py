"""Requests whose responses are much larger than they are, to the served process: all at once, and unread."""

import json
import socket

import httpx
import numpy as np

from serving.application import MIN_IN_FLIGHT
from tests.serving.attacks import served as attacks
from tests.serving.attacks.delays import MAX_DELAY
from tests.serving.bundles import DIGITS, raw, weights
from tests.serving.conftest import PATIENCE, Served

COUNT = 4096
EXAMPLES = raw(DIGITS, COUNT)
TENSOR = {"name": "image", "datatype": "UINT8", "shape": list(EXAMPLES.shape)}
HEADER = json.dumps({"inputs": [TENSOR | {"parameters": {"binary_data_size": EXAMPLES.nbytes}}]}).encode()
HEADERS = {"inference-header-content-length": str(len(HEADER)), "content-type": "application/octet-stream"}
PATH, BODY = "/v2/models/tandem/infer", HEADER + EXAMPLES.tobytes()


def test_large_responses_at_once(served: Served) -> None:
    """As many as are accepted at any speed of the model."""
    responses, longest, most = attacks.attack(served, [(PATH, BODY, HEADERS)] * (MIN_IN_FLIGHT - 2))
    expected = weights(DIGITS).expected(EXAMPLES).ravel()
    for response in responses:
        assert response.status_code == 200
        np.testing.assert_allclose(response.json()["outputs"][0]["data"], expected, rtol=1e-4, atol=1e-6)
    assert longest <= MAX_DELAY
    assert most < attacks.limit()


def test_clients_that_do_not_read_delay_nobody(served: Served) -> None:
    """There is memory for 68 of their responses until the connections are closed; small ones need none."""
    url = httpx.URL(served.url)
    lines = [f"POST {PATH} HTTP/1.1", "Host: x", f"Content-Length: {len(BODY)}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    content = "\r\n".join([*lines, "", ""]).encode() + BODY

    def connect() -> socket.socket:
        wire = socket.socket()
        wire.settimeout(PATIENCE)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.connect((url.host, url.port or 80))
        wire.sendall(content)
        assert wire.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 503")
        return wire

    wires = [connect() for _ in range(80)]
    try:
        small = json.dumps({"inputs": EXAMPLES[:1].tolist()}).encode()
        responses, longest, most = attacks.attack(served, [("/predict", small, {"content-type": "application/json"})])
    finally:
        for wire in wires:
            wire.close()
    assert [response.status_code for response in responses] == [200]
    assert longest <= MAX_DELAY
    assert most < attacks.limit()
