"""Third-party clients against the served process; they are development dependencies."""

import subprocess
import sys
import time
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


def test_tritonclient_reads_metadata_configuration_statistics_and_index(served: Served) -> None:
    triton = pytest.importorskip("tritonclient.http")
    inputs = raw(DIGITS, 5)
    tensor = triton.InferInput("image", list(inputs.shape), "UINT8").set_data_from_numpy(inputs)
    with triton.InferenceServerClient(served.url.removeprefix("http://")) as client:
        assert client.is_model_ready("tandem", "1")
        assert client.get_model_metadata("tandem", "1") == client.get_model_metadata("tandem")
        config = client.get_model_config("tandem", "1")
        assert config["max_batch_size"] == 4096
        assert config["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": [8, 8, 1]}]
        assert config["output"] == [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [10]}]
        (before,) = client.get_inference_statistics("tandem", "1")["model_stats"]
        results = [client.infer("tandem", [tensor], model_version="1") for _ in range(3)]
        (after,) = client.get_inference_statistics("tandem")["model_stats"]
        assert client.get_inference_statistics()["model_stats"] == [after]
        (model,) = client.get_model_repository_index()
        for call in (client.get_model_metadata, client.get_model_config, client.get_inference_statistics):
            with pytest.raises(triton.InferenceServerException, match="no such model"):
                call("tandem", "7")
    for result in results:
        np.testing.assert_allclose(result.as_numpy("probabilities"), weights(DIGITS).expected(inputs), atol=1e-6)
    assert after["inference_count"] - before["inference_count"] == 15
    assert after["execution_count"] - before["execution_count"] == 3
    success, earlier = after["inference_stats"]["success"], before["inference_stats"]["success"]
    assert success["count"] - earlier["count"] == 3
    assert success["ns"] > earlier["ns"]
    assert abs(after["last_inference"] / 1000 - time.time()) < 60
    assert model == {"name": "tandem", "version": "1", "state": "READY", "reason": ""}


def test_tritonclient_reports_unsupported_requests(served: Served) -> None:
    triton = pytest.importorskip("tritonclient.http")
    inputs = raw(DIGITS, 1)
    data = triton.InferInput("image", list(inputs.shape), "UINT8").set_data_from_numpy(inputs)
    shared = triton.InferInput("image", list(inputs.shape), "UINT8")
    shared.set_shared_memory("region", inputs.nbytes)
    to_shared = triton.InferRequestedOutput("probabilities")
    to_shared.set_shared_memory("region", 40)
    unknown = [triton.InferRequestedOutput(name) for name in ("probabilities", "logits")]
    requests = [([shared], None, "shared memory"), ([data], [to_shared], "shared memory"), ([data], unknown, "outputs")]
    with triton.InferenceServerClient(served.url.removeprefix("http://")) as client:
        for tensors, outputs, message in requests:
            with pytest.raises(triton.InferenceServerException, match=message) as caught:
                client.infer("tandem", tensors, outputs=outputs)
            assert caught.value.status() == "400"


def test_schemathesis_finds_no_failure(served: Served) -> None:
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
