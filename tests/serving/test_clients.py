"""Clients that others wrote, against the really served process: they are part of the development tools."""

import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.serving.bundles import DIGITS, raw, weights
from tests.serving.conftest import Served


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("raw_inputs", [True, False])
@pytest.mark.parametrize("raw_outputs", [True, False, None])
def test_tritonclient(served: Served, count: int, raw_inputs: bool, raw_outputs: bool | None) -> None:
    triton = pytest.importorskip("tritonclient.http")
    with triton.InferenceServerClient(served.url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tandem")
        (described,) = client.get_model_metadata("tandem")["inputs"]
        inputs = raw(DIGITS, count)
        tensor = triton.InferInput(described["name"], list(inputs.shape), described["datatype"])
        tensor.set_data_from_numpy(inputs, binary_data=raw_inputs)
        output = triton.InferRequestedOutput("probabilities", binary_data=raw_outputs)
        result = client.infer("tandem", [tensor], outputs=None if raw_outputs is None else [output], request_id="mine")
    np.testing.assert_allclose(result.as_numpy("probabilities"), weights(DIGITS).expected(inputs), atol=1e-6)
    assert result.get_response()["id"] == "mine"


def test_schemathesis_finds_no_failure_of_the_service(served: Served) -> None:
    command = Path(sys.executable).with_name("schemathesis")
    if not command.exists():
        pytest.skip("schemathesis is not installed")
    checks = [
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    ]
    arguments = [str(command), "run", f"{served.url}/docs.json", *checks, "--max-examples", "50", "--seed", "0"]
    ended = subprocess.run(
        arguments, capture_output=True, text=True, timeout=240, check=False, cwd=served.output.parent
    )
    assert ended.returncode == 0, ended.stdout
    assert httpx.get(f"{served.url}/readyz").status_code == 200
