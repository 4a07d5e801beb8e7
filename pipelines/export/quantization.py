"""An int8 copy of an exported graph, faster on a CPU: static quantisation, calibrated on training examples.

Weights become int8 for each output channel, activations uint8 for each tensor, both written as pairs of
QuantizeLinear and DequantizeLinear, which ONNX Runtime fuses into integer operators
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
"""

import os
import sys
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

# ONNX Runtime reads this when it is imported; a person who wants telemetry sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from models.graph import finish
from models.spec import DataSpec
from pipelines.inference import onnx_runtime

# `onnxruntime.tools`, which the quantiser imports, imports torch where it is installed. In a process that exports a
# Keras model torch must not be loaded: for this import it is as if it were not installed.
_torch_hidden = sys.modules.setdefault("torch", None) is None  # type: ignore[arg-type]
try:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata
finally:
    if _torch_hidden:
        del sys.modules["torch"]


FEWEST_INPUTS = 8  # of a layer; for fewer the float kernels are faster: 0.13 in place of 0.72 ms for one channel
LAYERS = ("Conv", "Gemm", "MatMul")
# They stay in int8 where their input is, so that no value is converted back and forth in between.
MOVABLE = ("MaxPool", "Reshape", "Flatten", "Transpose")
BETWEEN = ("Relu", *MOVABLE)


class Examples(CalibrationDataReader):  # type: ignore[misc]
    """Raw examples [N, *shape] as batches for the graph's one input."""

    def __init__(self, name: str, inputs: np.ndarray) -> None:
        size = onnx_runtime.batch_size(inputs)
        starts = range(0, len(inputs), size)
        self._batches: Iterator[dict[str, np.ndarray]] = ({name: inputs[start : start + size]} for start in starts)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None after the last."""
        return next(self._batches, None)


def reason_against(model: onnx.ModelProto, spec: DataSpec) -> str:
    """Why there is no int8 graph of this one, or nothing."""
    if not spec.is_classification:
        return "a regression has no classes to agree on, by which an int8 graph is judged"
    if not quantized_nodes(model.graph):
        return f"no layer reads {FEWEST_INPUTS} channels or features or more; for fewer int8 is not faster"
    return ""


def quantize(model: onnx.ModelProto, target: Path, spec: DataSpec, inputs: np.ndarray) -> None:
    """Write an int8 copy of a graph, calibrated on raw `inputs` [N, *shape]. The same of both give the same bytes."""
    # The exporters fold constants and `finish` infers shapes: what ONNX Runtime's own preparation would do.
    add_pre_process_metadata(model)
    quantize_static(
        model,
        target,
        Examples(spec.input_name, inputs),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=[*LAYERS, *BETWEEN, "Add"],
        nodes_to_quantize=quantized_nodes(model.graph),
        # Rounded logits would cost agreement; after a hidden dense layer a conversion costs nothing.
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
    )
    quantized = onnx.load(target)
    _keep_maximum_in_float(quantized.graph)
    onnx.save(finish(quantized, spec), target)


def quantized_nodes(graph: onnx.GraphProto) -> list[str]:
    """The names of the nodes to quantise; none where no layer has enough inputs to gain by it."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    # What stands before the first of them scales the raw values, or tells the categories of a table apart.
    nodes = [*dropwhile(lambda node: not _gains(node, shapes), graph.node)]
    return [
        node.name for node in nodes if _gains(node, shapes) or node.op_type in BETWEEN or _adds_branches(node, shapes)
    ]


def _gains(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether a node is a layer with constant weights that reads enough channels or features."""
    if node.op_type not in LAYERS or node.input[1] not in shapes:
        return False
    shape = shapes[node.input[1]]
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return (shape[1] if node.op_type == "Conv" or transposed else shape[-2]) >= FEWEST_INPUTS


def _adds_branches(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether a node is the sum of a residual connection, not that of a constant."""
    return node.op_type == "Add" and not any(name in shapes for name in node.input)


def _keep_maximum_in_float(graph: onnx.GraphProto) -> None:
    """Put a Clip to the range of uint8 before each quantisation of what a maximum or a change of shape gives.

    It changes no number, for quantisation clips by itself, and ONNX Runtime removes it. Before that, it keeps it from
    moving the quantisation in front of a maximum in float, whose int8 kernel is 15 times as slow in this layout.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for place, node in reversed([*enumerate(graph.node)]):
        maker = makers.get(node.input[0])
        if node.op_type == "QuantizeLinear" and maker and _passes_float(maker, makers):
            scale, zero = constants[node.input[1]], constants[node.input[2]]
            graph.node.insert(place, _clip(graph, node, scale, zero))


def _passes_float(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether ONNX Runtime could move a quantisation in front of a node that works in float."""
    source = makers.get(node.input[0])
    return node.op_type in MOVABLE and (source is None or source.op_type != "DequantizeLinear")


def _clip(graph: onnx.GraphProto, node: onnx.NodeProto, scale: np.ndarray, zero: np.ndarray) -> onnx.NodeProto:
    """A Clip that feeds `node`, a QuantizeLinear, with what it can represent."""
    names = [f"{node.name}.{limit}" for limit in ("min", "max")]
    for name, limit in zip(names, (0, 255), strict=True):
        value = np.array((limit - int(zero)) * scale, np.float32)
        graph.initializer.append(numpy_helper.from_array(value, name))
    clip = onnx.helper.make_node("Clip", [node.input[0], *names], [f"{node.name}.clipped"])
    node.input[0] = clip.output[0]
    return clip
