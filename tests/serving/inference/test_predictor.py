"""Predictions, the provider in use, padded batches, and rejected models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.external_data_helper import set_external_data

from models.errors import InputError
from models.onnx.session import CPU, Device, open_session
from models.spec import DataSpec
from serving.inference import predictor
from serving.inference.gpu_batches import DeviceBatches
from serving.inference.predictor import Predictor
from tests.serving.bundles import DIGITS, IRIS, PRICES, graph, raw, weights


@pytest.mark.parametrize("spec", [DIGITS, IRIS, PRICES], ids=lambda spec: spec.name)
@pytest.mark.parametrize("count", [1, 2, 7, 32])
def test_outputs_equal_those_of_numpy(spec: DataSpec, count: int) -> None:
    model = weights(spec)
    inputs = raw(spec, count)
    outputs = Predictor(graph(model), spec, "cpu").predict(inputs)
    assert outputs.shape == (count, spec.outputs)
    np.testing.assert_allclose(outputs, model.expected(inputs), rtol=1e-4, atol=1e-6)


def test_the_provider_is_that_of_the_session() -> None:
    assert Predictor(graph(weights(DIGITS)), DIGITS, "cpu").provider == CPU


@pytest.mark.parametrize("absolute", [False, True])
def test_weights_in_another_file_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool) -> None:
    """They would be outside the SHA-256; ONNX Runtime looks for them in the working directory."""
    monkeypatch.chdir(tmp_path)
    content = onnx.load_model_from_string(graph(weights(DIGITS)))
    (kernel,) = (tensor for tensor in content.graph.initializer if tensor.name == "kernel")
    Path("kernel.bin").write_bytes(kernel.raw_data)
    set_external_data(kernel, str(tmp_path / "kernel.bin") if absolute else "kernel.bin")
    kernel.ClearField("raw_data")
    with pytest.raises(InputError, match=r"cannot open the model: .*kernel"):
        Predictor(content.SerializeToString(), DIGITS, "cpu")


def has_cuda() -> bool:
    try:
        return Predictor(graph(weights(DIGITS)), DIGITS, "cuda").provider != CPU
    except InputError:
        return False


@pytest.mark.skipif(has_cuda(), reason="there is a usable GPU")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_cannot_be_used_is_an_error(device: Device, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=device):
        Predictor(graph(weights(DIGITS)), DIGITS, device, tmp_path)


@pytest.mark.parametrize("spec", [DIGITS, IRIS, PRICES], ids=lambda spec: spec.name)
def test_padded_batches_in_bound_memory_equal_those_of_numpy(spec: DataSpec) -> None:
    model = weights(spec)
    batches = DeviceBatches(open_session(graph(model), "cpu"), spec, "cpu")
    for count in (3, 64, 1, 7, 130, 3):
        inputs = raw(spec, count)
        outputs = batches.predict(inputs)
        assert outputs.shape == (count, spec.outputs)
        np.testing.assert_allclose(outputs, model.expected(inputs), rtol=1e-4, atol=1e-6)


def test_outputs_are_not_overwritten_by_the_next_run() -> None:
    model = weights(DIGITS)
    batches = DeviceBatches(open_session(graph(model), "cpu"), DIGITS, "cpu")
    first, second = raw(DIGITS, 4)[:2], raw(DIGITS, 4)[2:]
    outputs = batches.predict(first)
    batches.predict(second)
    np.testing.assert_allclose(outputs, model.expected(first), atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not has_cuda(), reason="no usable GPU")
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_cuda_is_used_and_outputs_equal_those_of_numpy(device: str) -> None:
    model = weights(DIGITS)
    predictor = Predictor(graph(model), DIGITS, "cuda" if device == "cuda" else "auto")
    assert predictor.provider == "CUDAExecutionProvider"
    np.testing.assert_allclose(predictor.predict(raw(DIGITS, 9)), model.expected(raw(DIGITS, 9)), atol=1e-4)


def test_automatic_selection_uses_an_available_provider() -> None:
    predictor = Predictor(graph(weights(DIGITS)), DIGITS)
    assert predictor.provider in onnxruntime.get_available_providers()


def test_a_graph_that_does_not_match_the_spec_is_rejected() -> None:
    with pytest.raises(InputError, match="the spec requires"):
        Predictor(graph(weights(DIGITS)), replace(DIGITS, shape=(28, 28, 1)), "cpu")


@pytest.mark.parametrize("model", [b"", b"not a model", graph(weights(DIGITS))[:200]])
def test_an_invalid_model_is_rejected(model: bytes) -> None:
    with pytest.raises(InputError, match="cannot open the model"):
        Predictor(model, DIGITS, "cpu")


def test_each_model_has_its_own_folder_of_engines_as_their_names_do_not_depend_on_weights(tmp_path: Path) -> None:
    first, second = (predictor._engine_options(model, DIGITS, tmp_path / "engines") for model in (b"one", b"other"))
    assert first["trt_engine_cache_path"] != second["trt_engine_cache_path"]
    assert first["trt_timing_cache_path"] == second["trt_timing_cache_path"]
    assert all(Path(options["trt_engine_cache_path"]).is_dir() for options in (first, second))


def test_a_folder_for_engines_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"^TANDEM_ENGINES: .*file/engines/\w+: Not a directory; name a writable"):
        predictor._engine_options(b"one", DIGITS, tmp_path / "file" / "engines")
