import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.onnx import inference
from models.onnx.graph import finish
from models.onnx.session import open_session
from pipelines.export import quantization
from tests.pipelines import synthetic
from tests.pipelines.workspace import REPOSITORY

TRAIN, VALIDATION = (synthetic.digits()[name][0] for name in ("train", "validation"))
# In a process of its own.
QUANTIZE = """
import numpy, onnx, sys
from pathlib import Path
from models.spec import DataSpec
from pipelines.export import quantization
folder = Path(sys.argv[1])
model, inputs = onnx.load(folder / 'model.onnx'), numpy.load(folder / 'inputs.npy')
quantization.quantize(model, DataSpec.read(folder / 'spec.json'), inputs, folder / 'other.onnx')
"""


def convolutional(channels: int) -> onnx.ModelProto:
    """image uint8 [N,8,8,1] -> two stages of convolution and maximum with random weights, and a residual sum."""
    random = np.random.default_rng(0)
    shapes = {"w1": (channels, 1, 3, 3), "w2": (32, channels, 3, 3), "w3": (32, 32, 3, 3), "w4": (32 * 4, 10)}
    weights = {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    weights["scale"] = np.full((1, 1, 1, 1), 1 / 255, np.float32)
    same, halved = {"pads": [1, 1, 1, 1]}, {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Cast", ["image"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["c", "scale"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w1"], ["a1"], **same),
        helper.make_node("Relu", ["a1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], **halved),
        helper.make_node("Conv", ["p1", "w2"], ["a2"], **same),
        helper.make_node("Relu", ["a2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3"], ["a3"], **same),
        helper.make_node("Add", ["a3", "r2"], ["a4"]),
        helper.make_node("MaxPool", ["a4"], ["p2"], **halved),
        helper.make_node("Flatten", ["p2"], ["f"]),
        helper.make_node("MatMul", ["f", "w4"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    body = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 8, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    return finish(helper.make_model(body, opset_imports=opset, ir_version=10), synthetic.SPEC)


def quantized(model: onnx.ModelProto, folder: Path) -> Path:
    quantization.quantize(model, synthetic.SPEC, TRAIN[:200], folder / "model.int8.onnx")
    return folder / "model.int8.onnx"


def answers(file: Path, device="cpu") -> np.ndarray:
    return inference.predict(open_session(file, device), VALIDATION)


def test_a_fitted_model_decides_the_same_with_a_third_of_the_bytes(tmp_path):
    model = finish(synthetic.graph(*synthetic.fitted(), hidden=3), synthetic.SPEC)
    onnx.save(model, tmp_path / "model.onnx")
    expected, found = answers(tmp_path / "model.onnx"), answers(quantized(model, tmp_path))
    assert found.dtype == np.float32
    assert np.mean(found.argmax(1) == expected.argmax(1)) >= 0.99
    assert 0 < np.abs(found - expected).max() < 0.05
    assert (tmp_path / "model.int8.onnx").stat().st_size < 0.5 * (tmp_path / "model.onnx").stat().st_size


def test_names_and_shapes_are_those_of_the_float_graph(tmp_path):
    model = convolutional(channels=16)
    found = onnx.load(quantized(model, tmp_path))
    assert (found.graph.input, found.graph.output) == (model.graph.input, model.graph.output)
    assert {entry.domain for entry in found.opset_import if entry.domain} <= {"com.microsoft"}
    assert {node.domain for node in found.graph.node} == {""}  # any runtime can read it


def test_weights_are_int8_for_each_channel_and_first_layer_and_scaling_stay_in_float(tmp_path):
    found = onnx.load(quantized(convolutional(channels=16), tmp_path))
    kinds = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in found.graph.initializer}
    assert kinds["Conv_1.W"] == (TensorProto.FLOAT, (16, 1, 3, 3))
    eight = [shape for kind, shape in kinds.values() if kind == TensorProto.INT8 and len(shape) > 1]
    assert sorted(eight) == [(32, 16, 3, 3), (32, 32, 3, 3), (128, 10)]
    weights = [numpy_helper.to_array(tensor) for tensor in found.graph.initializer if len(tensor.dims) > 1]
    # Two products of 7-bit weights and uint8 values fit into 16 bits, as processors without VNNI add them.
    assert {int(np.abs(values.astype(int)).max()) for values in weights if values.dtype == np.int8} == {64}
    scales = {kinds[node.input[1]][1] for node in found.graph.node if node.op_type == "DequantizeLinear"}
    assert scales == {(), (32,), (10,)}


def operators(file: Path, folder: Path) -> list[str]:
    """What ONNX Runtime makes of a graph."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def test_onnx_runtime_computes_the_rest_in_integers_and_quantises_after_the_first_maximum(tmp_path):
    found = operators(quantized(convolutional(channels=16), tmp_path), tmp_path)
    assert found.count("QLinearConv") == 2
    assert found.count("QLinearAdd") == 1
    assert "Clip" not in found
    assert found.index("MaxPool") < found.index("QuantizeLinear")


@pytest.mark.parametrize("channels", [4, 8])
def test_a_layer_with_few_inputs_stays_in_float(tmp_path, channels):
    found = operators(quantized(convolutional(channels), tmp_path), tmp_path)
    assert found.count("QLinearConv") == (2 if channels >= quantization.MIN_LAYER_INPUTS else 1)


def test_where_the_dense_layer_alone_is_quantised_the_maximum_stays_in_float(tmp_path):
    model = convolutional(channels=4)
    del model.graph.node[8:10]  # the third convolution and the sum
    (unused,) = (tensor for tensor in model.graph.initializer if tensor.name == "Conv_3.W")
    model.graph.initializer.remove(unused)
    model.graph.node[8].input[0] = model.graph.node[7].output[0]
    found = operators(quantized(finish(model, synthetic.SPEC), tmp_path), tmp_path)
    assert found.count("QLinearConv") == 0
    assert found.index("QuantizeLinear") > max(place for place, name in enumerate(found) if name == "MaxPool")


def test_another_process_writes_the_same_bytes(tmp_path):
    onnx.save(convolutional(channels=16), tmp_path / "model.onnx")
    np.save(tmp_path / "inputs.npy", TRAIN[:200])
    (tmp_path / "spec.json").write_text(json.dumps(synthetic.SPEC.to_dict()), "utf-8")
    command = [sys.executable, "-c", QUANTIZE, str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    mine = quantized(convolutional(channels=16), tmp_path)
    assert (tmp_path / "other.onnx").read_bytes() == mine.read_bytes()


def test_what_cannot_gain_or_be_judged_has_no_int8_copy():
    model = finish(synthetic.graph(*synthetic.fitted()), synthetic.SPEC)
    assert quantization.reason_against(model, synthetic.SPEC) == ""
    regression = replace(synthetic.SPEC, task="regression", labels=())
    assert "no classes to agree on" in quantization.reason_against(model, regression)
    weights, bias = synthetic.fitted()
    small = synthetic.graph(weights[:4], bias)
    assert "no layer reads 8" in quantization.reason_against(small, synthetic.SPEC)
