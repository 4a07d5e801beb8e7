"""The exported graph: one contract for both frameworks, equal to the model, the same bytes twice."""

import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest

from models.config import Activation
from models.spec import DataSpec
from models.training.batches import Split
from pipelines.execution.candidate import Candidate
from pipelines.export.batch_sizes import BATCH_SIZES
from tests.models.conftest import CONFIGS, FRAMEWORKS, Exported, framework_module, logits
from tests.models.equality import require_equal
from tests.models.exporter import export_new_model
from tests.models.readers import Readers


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize("batch", [1, 2, 7, 32])
@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_onnx_takes_raw_pixels_in_any_batch(
    framework: str, architecture: str, batch: int, exported: Exported, digits: Split
) -> None:
    model, folder = exported(framework, architecture)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    images = digits.inputs[:batch]
    (found,) = session.run(["probabilities"], {"image": images})
    assert found.dtype == np.float32
    require_equal("exported probabilities", found, softmax(logits(framework, model, images)))


@pytest.mark.usefixtures("torch_operators")
@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_activation_is_exported(framework: str, activation: str, spec: DataSpec, digits: Split) -> None:
    config = CONFIGS["mlp"].model_copy(update={"activation": activation})
    model = framework_module(framework, "mlp").build(spec, config)
    export, images = framework_module(framework, "export"), digits.inputs[:7]
    served = export.trace(export.Served(model, spec), spec) if framework == "torch" else model
    graph = export.to_onnx(served, spec)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"image": images})
    require_equal("exported probabilities", found, softmax(logits(framework, model, images)))


@pytest.mark.parametrize("architecture", CONFIGS)
def test_both_frameworks_export_the_same_signature(architecture: str, exported: Exported) -> None:
    signatures = []
    for framework in FRAMEWORKS:
        _, folder = exported(framework, architecture)
        session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        signatures.append(
            [(value.name, value.type, value.shape) for value in (*session.get_inputs(), *session.get_outputs())]
        )
    assert signatures[0] == signatures[1]
    assert signatures[0] == [("image", "tensor(uint8)", ["N", 8, 8, 1]), ("probabilities", "tensor(float)", ["N", 10])]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_value_of_the_graph_has_a_shape_and_nothing_else_is_named(framework: str, exported: Exported) -> None:
    _, folder = exported(framework, "cnn")
    model = onnx.load(folder / "model.onnx")
    shaped = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} <= shaped
    batch = {value.type.tensor_type.shape.dim[0].dim_param for value in model.graph.value_info}
    assert batch <= {"N", ""}
    assert not list(folder.glob("*.data"))
    assert str(Path.cwd()).encode() not in (folder / "model.onnx").read_bytes()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_same_model_exports_to_the_same_bytes(
    framework: str, exported: Exported, spec: DataSpec, tmp_path: Path
) -> None:
    model, folder = exported(framework, "cnn")
    framework_module(framework, "export").export(model, spec, tmp_path)
    assert (folder / "model.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_process_writes_the_same_bytes_and_no_path(framework: str, spec: DataSpec, tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    with ProcessPoolExecutor(2, get_context("spawn"), max_tasks_per_child=1) as processes:
        given = Candidate(framework, "cnn"), CONFIGS["cnn"], spec
        for future in [processes.submit(export_new_model, *given, folder) for folder in folders]:
            future.result()
    first, second = ({path.relative_to(folder): path for path in folder.rglob("*.*")} for folder in folders)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name].read_bytes() != second[name].read_bytes()] == []
    for path in first.values():
        contents = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                contents = [file.read(name) for name in file.namelist()]
        assert not any(root in content for content in contents for root in (b"site-packages", b"/models/"))


@pytest.mark.parametrize("architecture", ["cnn", "resnet"])
@pytest.mark.parametrize(
    ("framework", "files"),
    [("torch", {"model.onnx", "model.pt2"}), ("keras", {"model.onnx", "model.keras", "model.tflite", "saved_model"})],
)
def test_all_formats_are_written_and_read_back(
    framework: str, files: set[str], architecture: str, exported: Exported, readers: Readers, spec: DataSpec,
    digits: Split,
) -> None:  # fmt: skip
    model, folder = exported(framework, architecture)
    assert {path.name for path in folder.iterdir()} == files
    expected = softmax(logits(framework, model, digits.inputs[:7]))
    found = framework_module(framework, "export").predictor(model, spec)(digits.inputs[:7])
    np.testing.assert_allclose(softmax(found), expected, atol=1e-5)
    read = readers.read(folder.iterdir(), spec, digits.inputs[:7])
    assert set(read) == files
    for outputs in read.values():
        assert outputs.shape == (len(BATCH_SIZES), 7, 10)
        np.testing.assert_allclose(outputs, np.broadcast_to(expected, outputs.shape), atol=1e-5)


def test_twins_have_the_same_latency_graph(spec: DataSpec, tmp_path: Path) -> None:
    """After ONNX Runtime's own optimisation both are the same operators in the same order.

    It lays channels out in blocks as wide as the processor's vectors: of 16 with AVX-512, of 8 with AVX2.
    """
    config, operators = CONFIGS["cnn"].model_copy(update={"channels": (16, 32)}), []
    for framework in FRAMEWORKS:
        model = framework_module(framework, "cnn").build(spec, config)
        store = framework_module(framework, "store")
        random = np.random.default_rng(0)
        store.set_weights(
            model, {name: random.random(array.shape, np.float32) for name, array in store.get_weights(model).items()}
        )
        export = framework_module(framework, "export")
        served = export.trace(export.Served(model, spec), spec) if framework == "torch" else model
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{framework}.onnx")
        options.log_severity_level = 4
        graph = export.to_onnx(served, spec).SerializeToString()
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(tmp_path / f"{framework}.onnx").graph
        # With one channel a transposition moves nothing, and one exporter writes a reshape.
        operators.append([node.op_type.replace("Transpose", "Reshape") for node in graph.node])
    assert operators[0] == operators[1]
