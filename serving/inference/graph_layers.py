"""Outputs of the layers of an ONNX graph, from a copy of it in which they are graph outputs.

Only the protobuf fields used here are declared, by their numbers in `onnx.proto`; protobuf preserves all others. The
package `onnx` is therefore not needed.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from models.onnx.session import open_session

LAYER_OPERATORS = ("Conv", "Relu", "Clip", "Sigmoid", "MaxPool", "AveragePool", "GlobalAveragePool", "Gemm", "MatMul")
MAX_LAYERS = 24  # of a deeper graph, so many evenly spaced layers
STRING, MESSAGE = 9, 11  # field types in protobuf's descriptor.proto
# message: {field: (number, type or message)}, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "Model": {"graph": (7, "Graph")},
    "Graph": {"node": (1, "Node"), "output": (12, "Value")},
    "Node": {"output": (2, ""), "op_type": (4, "")},
    "Value": {"name": (1, "")},
}
REPEATED = {("Graph", "node"), ("Graph", "output"), ("Node", "output")}


@dataclass(frozen=True)
class Layer:
    """The output of one node for one example: [C, H, W] of a convolution, [n] of a dense layer."""

    name: str
    operator: str
    values: np.ndarray


class Layers:
    """Runs the graph in `model`, the content of an ONNX file, on the CPU with its layers as outputs."""

    def __init__(self, model: bytes) -> None:
        content = _model().FromString(model)
        selected = _spread([node for node in content.graph.node if node.op_type in LAYER_OPERATORS])
        outputs = {value.name for value in content.graph.output}
        for node in selected:
            if node.output[0] not in outputs:
                content.graph.output.add(name=node.output[0])
        self._operators = {node.output[0]: node.op_type for node in selected}
        self._session = open_session(content.SerializeToString(), "cpu")

    def run(self, example: np.ndarray) -> list[Layer]:
        """The layers for one raw example [1, *shape], in graph order."""
        (graph_input,) = self._session.get_inputs()
        if not self._operators:
            return []
        outputs = self._session.run(list(self._operators), {graph_input.name: example})
        named = zip(self._operators.items(), outputs, strict=True)
        return [Layer(name, operator, values[0]) for (name, operator), values in named]


def _spread(nodes: list[Any]) -> list[Any]:
    """At most MAX_LAYERS nodes, evenly spaced, including the first and the last."""
    places = np.linspace(0, len(nodes) - 1, min(len(nodes), MAX_LAYERS)).round().astype(int)
    return [nodes[place] for place in places.tolist()]


@cache
def _model() -> Any:
    """The message class of ONNX's ModelProto with the declared fields."""
    file = descriptor_pb2.FileDescriptorProto(name="tandem/layers.proto", package="tandem")
    for name, declared in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, of) in declared.items():
            kind = {"type": MESSAGE, "type_name": f".tandem.{of}"} if of else {"type": STRING}
            message.field.add(name=field, number=number, label=3 if (name, field) in REPEATED else 1, **kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tandem.Model"))
