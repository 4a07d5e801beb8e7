"""The exported graph: one contract for both frameworks, equal to the model, the same bytes twice."""

from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest

from models.batches import Split
from models.config import Activation
from models.spec import DataSpec
from pipelines.export import reader_processes
from pipelines.export.batch_sizes import BATCHES
from tests.models.conftest import CONFIGS, FRAMEWORKS, framework_module, logits
from tests.models.equality import require_equal


def exported(framework: str, architecture: str, spec: DataSpec, folder: Path):
    model = framework_module(framework, architecture).build(spec, CONFIGS[architecture])
    folder.mkdir(exist_ok=True)
    framework_module(framework, "export").export(model, spec, folder)
    return model


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize("batch", [1, 2, 7, 32])
@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_onnx_takes_raw_pixels_in_any_batch(
    framework: str, architecture: str, batch: int, spec: DataSpec, digits: Split, tmp_path: Path
) -> None:
    model = exported(framework, architecture, spec, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = digits.inputs[:batch]
    (found,) = session.run(["probabilities"], {"image": images})
    assert found.dtype == np.float32
    require_equal("exported probabilities", found, softmax(logits(framework, model, images)))


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_activation_is_exported(framework: str, activation: str, spec: DataSpec, digits: Split) -> None:
    config = CONFIGS["mlp"].model_copy(update={"activation": activation})
    model = framework_module(framework, "mlp").build(spec, config)
    export, images = framework_module(framework, "export"), digits.inputs[:7]
    graph = export.to_onnx(export.Served(model, spec).eval() if framework == "torch" else model, spec)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"image": images})
    require_equal("exported probabilities", found, softmax(logits(framework, model, images)))


@pytest.mark.parametrize("architecture", CONFIGS)
def test_both_frameworks_export_the_same_signature(architecture: str, spec: DataSpec, tmp_path: Path) -> None:
    signatures = []
    for framework in FRAMEWORKS:
        exported(framework, architecture, spec, tmp_path / framework)
        session = onnxruntime.InferenceSession(tmp_path / framework / "model.onnx", providers=["CPUExecutionProvider"])
        signatures.append(
            [(value.name, value.type, value.shape) for value in (*session.get_inputs(), *session.get_outputs())]
        )
    assert signatures[0] == signatures[1]
    assert signatures[0] == [("image", "tensor(uint8)", ["N", 8, 8, 1]), ("probabilities", "tensor(float)", ["N", 10])]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_value_of_the_graph_has_a_shape_and_nothing_else_is_named(
    framework: str, spec: DataSpec, tmp_path: Path
) -> None:
    exported(framework, "cnn", spec, tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    shaped = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} <= shaped
    batch = {value.type.tensor_type.shape.dim[0].dim_param for value in model.graph.value_info}
    assert batch <= {"N", ""}
    assert not list(tmp_path.glob("*.data"))
    assert str(Path.cwd()).encode() not in (tmp_path / "model.onnx").read_bytes()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_same_model_exports_to_the_same_bytes(framework: str, spec: DataSpec, tmp_path: Path) -> None:
    model = exported(framework, "cnn", spec, tmp_path / "first")
    (tmp_path / "second").mkdir()
    framework_module(framework, "export").export(model, spec, tmp_path / "second")
    assert (tmp_path / "first/model.onnx").read_bytes() == (tmp_path / "second/model.onnx").read_bytes()


@pytest.mark.parametrize("architecture", ["cnn", "resnet"])
@pytest.mark.parametrize(
    ("framework", "files"),
    [("torch", {"model.onnx", "model.pt2"}), ("keras", {"model.onnx", "model.keras", "model.tflite", "saved_model"})],
)
def test_all_formats_are_written_and_read_back(
    framework: str, files: set[str], architecture: str, spec: DataSpec, digits: Split, tmp_path: Path
) -> None:
    with reader_processes.started(files) as readers:
        model = exported(framework, architecture, spec, tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == files
        expected = softmax(logits(framework, model, digits.inputs[:7]))
        found = framework_module(framework, "export").predictor(model, spec)(digits.inputs[:7])
        np.testing.assert_allclose(found, expected, atol=1e-5)
        read = dict(readers.ask([tmp_path / name for name in sorted(files)], spec, digits.inputs[:7]))
    assert {path.name for path in read} == files
    for outputs in read.values():
        assert outputs.shape == (len(BATCHES), 7, 10)
        np.testing.assert_allclose(outputs, np.broadcast_to(expected, outputs.shape), atol=1e-5)


def test_twins_have_the_same_latency_graph(spec: DataSpec, tmp_path: Path) -> None:
    """After ONNX Runtime's own optimisation both are the same operators in the same order."""
    operators = []
    for framework in FRAMEWORKS:
        model = framework_module(framework, "cnn").build(spec, CONFIGS["cnn"])
        store = framework_module(framework, "store")
        # A bias of zero would be left out by one exporter.
        store.set_weights(model, {name: array + np.float32(0.01) for name, array in store.get_weights(model).items()})
        (tmp_path / framework).mkdir()
        framework_module(framework, "export").export(model, spec, tmp_path / framework)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{framework}.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(tmp_path / framework / "model.onnx", options, providers=["CPUExecutionProvider"])
        graph = onnx.load(tmp_path / f"{framework}.onnx").graph
        # With one channel a transposition moves nothing, and one exporter writes a reshape.
        operators.append([node.op_type.replace("Transpose", "Reshape") for node in graph.node])
    assert operators[0] == operators[1]
