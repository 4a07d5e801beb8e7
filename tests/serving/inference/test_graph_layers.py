"""Layer outputs: their values, and the selection of layers in deep graphs."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from serving.inference.graph_layers import MAX_LAYERS, Layers
from tests.serving.bundles import DIGITS, graph, raw, weights


def convolutional(depth: int) -> onnx.ModelProto:
    """`depth` layers of Conv and Relu on [N, 1, 8, 8], then the mean of each of 4 channels."""
    generator = np.random.default_rng(5)
    nodes, kernels, last, channels = [], [], "image", 1
    for index in range(depth):
        kernel = generator.normal(size=(4, channels, 3, 3)).astype(np.float32)
        kernels.append(numpy_helper.from_array(kernel, f"kernel_{index}"))
        nodes.append(helper.make_node("Conv", [last, f"kernel_{index}"], [f"conv_{index}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"conv_{index}"], [f"relu_{index}"]))
        last, channels = f"relu_{index}", 4
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["probabilities"]))
    entry = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])
    exit_ = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 4, 1, 1])
    made = helper.make_graph(nodes, "deep", [entry], [exit_], kernels)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def exposed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with every value as an output, by the package `onnx`."""
    known = {value.name for value in model.graph.output}
    names = [node.output[0] for node in model.graph.node if node.output[0] not in known]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return model


def test_layer_outputs_equal_those_of_the_reference_evaluator() -> None:
    model = convolutional(2)
    example = np.random.default_rng(6).normal(size=(1, 1, 8, 8)).astype(np.float32)
    layers = Layers(model.SerializeToString()).run(example)
    assert [layer.operator for layer in layers] == ["Conv", "Relu", "Conv", "Relu", "GlobalAveragePool"]
    reference = ReferenceEvaluator(exposed(model))
    expected = dict(zip(reference.output_names, reference.run(None, {"image": example}), strict=True))
    for layer in layers:
        np.testing.assert_allclose(layer.values, expected[layer.name][0], rtol=1e-4, atol=1e-4)


def test_of_a_deep_graph_evenly_spaced_layers_are_returned() -> None:
    layers = Layers(convolutional(40).SerializeToString()).run(np.zeros((1, 1, 8, 8), np.float32))
    assert len(layers) == MAX_LAYERS
    assert (layers[0].name, layers[-1].name) == ("conv_0", "probabilities")


def test_a_graph_without_layers_has_no_layer_outputs() -> None:
    nodes = [helper.make_node("Identity", ["image"], ["probabilities"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 2]) for name in ("image", "probabilities")]
    made = helper.make_graph(nodes, "empty", ends[:1], ends[1:])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    assert Layers(model.SerializeToString()).run(np.zeros((1, 2), np.float32)) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_are_preserved(seed: int) -> None:
    """Fields that are not declared, such as weights, are kept by protobuf."""
    model, example = weights(DIGITS, seed), raw(DIGITS, 1)
    (logits,) = Layers(graph(model)).run(example)
    exponentials = np.exp(logits.values - logits.values.max())
    np.testing.assert_allclose(exponentials / exponentials.sum(), model.expected(example)[0], atol=1e-5)
