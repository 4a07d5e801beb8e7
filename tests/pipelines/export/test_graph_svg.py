import itertools
from xml.etree import ElementTree

import onnx
import pytest
from onnx import TensorProto, helper

from models.onnx.graph import finish
from pipelines.export import graph_svg
from tests.pipelines import synthetic

SVG = "{http://www.w3.org/2000/svg}"


def residual() -> onnx.ModelProto:
    """A sum of what two ways give: one of two nodes, one of none."""
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["cast"], ["flat"]),
        helper.make_node("Relu", ["flat"], ["relu"]),
        helper.make_node("Neg", ["relu"], ["neg"]),
        helper.make_node("Add", ["neg", "flat"], ["sum"]),
        helper.make_node("Gemm", ["sum", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    body = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 8, 8, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])],
        [onnx.numpy_helper.from_array(synthetic.fitted()[0], "weights")],
    )
    made = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return finish(made, synthetic.SPEC)


@pytest.fixture(scope="module")
def picture() -> ElementTree.Element:
    return ElementTree.fromstring(graph_svg.draw(residual().graph, "torch-cnn"))


def texts(picture: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def boxes(picture: ElementTree.Element) -> list[tuple[float, float]]:
    """The upper left corners."""
    found = [rect for rect in picture.iter(f"{SVG}rect") if rect.get("rx")]
    return [(float(box.get("x")), float(box.get("y"))) for box in found]


def test_every_node_has_a_box_with_operator_name_weights_and_output_shape(picture):
    said = texts(picture)
    assert said[::3] == ["image", "Cast", "Flatten", "Relu", "Neg", "Add", "Gemm", "Softmax", "probabilities"]
    place = said.index("Gemm")
    assert said[place + 1 : place + 3] == ["Gemm_1: B 64 × 10", "N × 10"]
    assert said[:3] == ["image", "uint8", "N × 8 × 8 × 1"]
    assert said[-3:] == ["probabilities", "float32", "N × 10"]
    assert picture.find(f"{SVG}title").text == "torch-cnn"


def test_a_residual_connection_runs_beside_the_boxes_it_skips(picture):
    lines = [path for path in picture.iter(f"{SVG}path") if path.get("class")]
    assert len(lines) == 9  # one for each value that a node or the output reads
    (skip,) = (line for line in lines if line.get("class") == "skip")
    edge = float(picture.get("width")) / 2 + graph_svg.WIDTH / 2
    furthest = max(float(part.lstrip("MC")) for part in skip.get("d").split()[::2])
    assert edge < furthest < float(picture.get("width"))


def test_no_box_covers_another(picture):
    heights = [y for _, y in boxes(picture)]
    assert all(lower - upper > graph_svg.HEIGHT for upper, lower in itertools.pairwise(heights))


def test_of_nodes_beside_each_other_that_with_the_longer_connection_is_on_the_right():
    model = residual()
    flatten, _, _, total = model.graph.node[1:5]
    model.graph.node.insert(2, helper.make_node("Abs", [flatten.output[0]], ["shortcut"], name="Abs_1"))
    total.input[1] = "shortcut"  # a row further than Relu is read
    found = ElementTree.fromstring(graph_svg.draw(model.graph, "torch-cnn"))
    places = dict(zip(texts(found)[::3], boxes(found), strict=True))
    assert places["Abs"][1] == places["Relu"][1]
    assert places["Abs"][0] > places["Relu"][0]


def test_nodes_that_read_the_same_stand_beside_each_other():
    model = residual()
    _, _, relu, neg, total = model.graph.node[:5]
    neg.input[0] = relu.input[0]
    total.input[1] = relu.output[0]
    found = ElementTree.fromstring(graph_svg.draw(model.graph, "torch-cnn"))
    places = dict(zip(texts(found)[::3], boxes(found), strict=True))
    assert places["Relu"][1] == places["Neg"][1]
    assert abs(places["Relu"][0] - places["Neg"][0]) > graph_svg.WIDTH
