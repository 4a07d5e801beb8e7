"""What the layers of a graph give: a copy of the graph whose intermediate values are outputs too.

ONNX is a protobuf format. Only the few fields needed here are declared, by their numbers in `onnx.proto`;
what is not declared is carried over as it is. So no package beyond those of ONNX Runtime is needed.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from models.session import open_session

LAYERS = ("Conv", "Relu", "Clip", "Sigmoid", "MaxPool", "AveragePool", "GlobalAveragePool", "Gemm", "MatMul")
MOST = 24  # layers; of a deeper graph as many, evenly spread
STRING, MESSAGE = 9, 11  # types of fields in protobuf's descriptor.proto
# message: {field: (number, type or message)}, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
DECLARED: dict[str, dict[str, tuple[int, str]]] = {
    "Model": {"graph": (7, "Graph")},
    "Graph": {"node": (1, "Node"), "output": (12, "Value")},
    "Node": {"output": (2, ""), "op_type": (4, "")},
    "Value": {"name": (1, "")},
}
REPEATED = {("Graph", "node"), ("Graph", "output"), ("Node", "output")}


@dataclass(frozen=True)
class Layer:
    """One value inside the graph for one example: [C, H, W] of a convolution, [n] of a dense layer."""

    name: str
    operator: str
    values: np.ndarray


class Layers:
    """A graph that can be looked into. `model` is the ONNX file's content. It runs on the CPU."""

    def __init__(self, model: bytes) -> None:
        content = _model().FromString(model)
        shown = _spread([node for node in content.graph.node if node.op_type in LAYERS])
        known = {value.name for value in content.graph.output}
        for node in shown:
            if node.output[0] not in known:
                content.graph.output.add(name=node.output[0])
        self._operators = {node.output[0]: node.op_type for node in shown}
        self._session = open_session(content.SerializeToString(), "cpu")

    def look(self, example: np.ndarray) -> list[Layer]:
        """The layers for one raw example [1, *shape], in the order of the graph."""
        (entry,) = self._session.get_inputs()
        if not self._operators:
            return []
        found = self._session.run(list(self._operators), {entry.name: example})
        named = zip(self._operators.items(), found, strict=True)
        return [Layer(name, operator, values[0]) for (name, operator), values in named]


def _spread(nodes: list[Any]) -> list[Any]:
    """At most MOST of the nodes, evenly spread, the first and the last among them."""
    places = np.linspace(0, len(nodes) - 1, min(len(nodes), MOST)).round().astype(int)
    return [nodes[place] for place in places.tolist()]


@cache
def _model() -> Any:
    """The class of ONNX's ModelProto, as far as it is declared."""
    file = descriptor_pb2.FileDescriptorProto(name="tandem/layers.proto", package="tandem")
    for name, declared in DECLARED.items():
        message = file.message_type.add(name=name)
        for field, (number, of) in declared.items():
            kind = {"type": MESSAGE, "type_name": f".tandem.{of}"} if of else {"type": STRING}
            message.field.add(name=field, number=number, label=3 if (name, field) in REPEATED else 1, **kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tandem.Model"))
