"""Third-party clients against the served process; they are development dependencies."""

import importlib
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.models.images.test_image import encode
from tests.serving.bundles import DIGITS, onnx_outputs, raw, weights
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
    np.testing.assert_allclose(result.as_numpy("probabilities"), onnx_outputs(DIGITS, inputs), atol=1e-7)
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
        np.testing.assert_allclose(result.as_numpy("probabilities"), onnx_outputs(DIGITS, inputs), atol=1e-7)
    assert after["inference_count"] - before["inference_count"] == 15
    assert after["execution_count"] - before["execution_count"] == 3
    success, earlier = after["inference_stats"]["success"], before["inference_stats"]["success"]
    assert success["count"] - earlier["count"] == 3
    assert success["ns"] > earlier["ns"]
    counts = {each["batch_size"]: each["compute_infer"]["count"] for each in before["batch_stats"]}
    (five,) = [each for each in after["batch_stats"] if each["batch_size"] == 5]
    assert five["compute_infer"]["count"] - counts.get(5, 0) == 3
    assert five["compute_infer"]["ns"] > 0
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


@pytest.fixture(scope="module")
def generated(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Python package that openapi-python-client has generated from the document, without a warning."""
    command = Path(sys.executable).with_name("openapi-python-client")
    if not command.exists():
        pytest.skip("openapi-python-client is not installed")
    folder = tmp_path_factory.mktemp("generated")
    options = ["--url", f"{served.url}/docs.json", "--output-path", str(folder / "tandem_client"), "--meta", "none"]
    result = subprocess.run([str(command), "generate", *options], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "warning" not in result.stdout.lower(), result.stdout
    return folder


def test_a_generated_client_sends_images(served: Served, generated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(generated))
    tandem_client = importlib.import_module("tandem_client")
    prediction = importlib.import_module("tandem_client.api.prediction")
    models, types = importlib.import_module("tandem_client.models"), importlib.import_module("tandem_client.types")
    for name in ("predict", "predict_image", "activations"):
        importlib.import_module(f"tandem_client.api.prediction.{name}")
    inputs = raw(DIGITS, 2)
    pictures = [encode(Image.fromarray(each[..., 0])) for each in inputs]
    expected = weights(DIGITS).expected(inputs).max(axis=1)
    with tandem_client.Client(served.url) as client:
        whole = types.File(io.BytesIO(pictures[0]))
        (one,) = prediction.predict_image.sync(client=client, body=whole, top_k=1).predictions
        files = [types.File(io.BytesIO(each), f"{index}.png", "image/png") for index, each in enumerate(pictures)]
        both = prediction.predict_image.sync(client=client, body=models.ImageForm(files)).predictions
        same = prediction.predict.sync(client=client, body=models.PredictRequest(inputs.tolist())).predictions
        layers = prediction.activations.sync(client=client, body=types.File(io.BytesIO(pictures[0]))).layers
    for predictions in ([one], both, same):
        found = [each.probability for each in predictions]
        np.testing.assert_allclose(found, expected[: len(found)], atol=1e-6)
    assert len(one.probabilities.additional_properties) == 1
    assert layers


EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")


def requests(served: Served) -> float:
    """The number of requests that the service has answered."""
    lines = httpx.get(f"{served.url}/metrics").text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("tandem_requests_total{"))


def test_schemathesis_finds_no_failure(served: Served) -> None:
    """SCHEMATHESIS_EXAMPLES=150 sends more than 2,000 requests; pytest's option -s shows their number."""
    before = requests(served)
    command = Path(sys.executable).with_name("schemathesis")
    if not command.exists():
        pytest.skip("schemathesis is not installed")
    # A schema says neither which bytes are an image nor that a tensor has as many numbers as its shape.
    checks = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
    arguments = [str(command), "run", f"{served.url}/docs.json", *checks, "--max-examples", EXAMPLES, "--seed", "0"]
    ended = subprocess.run(
        arguments, capture_output=True, text=True, timeout=500, check=False, cwd=served.output.parent
    )
    print(f"schemathesis: {requests(served) - before:.0f} requests")
    assert ended.returncode == 0, ended.stdout
    assert httpx.get(f"{served.url}/readyz").status_code == 200
