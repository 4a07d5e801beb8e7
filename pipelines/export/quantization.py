"""Static int8 quantisation of an exported graph, calibrated on training examples; the copy is faster on a CPU.

Weights become int8, from -64 to 64, for each output channel, activations uint8 for each tensor, both written as pairs
of QuantizeLinear and DequantizeLinear, which ONNX Runtime fuses into integer operators
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
"""

import os
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

# ONNX Runtime reads this when it is imported; set it to 0 to enable telemetry.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from models.onnx import inference
from models.onnx.graph import finish
from models.spec import DataSpec
from pipelines.execution.optional_imports import hidden

# `onnxruntime.tools`, which the quantiser imports, imports torch where it is installed. In a process that exports a
# Keras model torch must not be loaded: for this import it is as if it were not installed.
with hidden("torch"):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

MIN_LAYER_INPUTS = 8  # for fewer the float kernels are faster: 0.13 instead of 0.72 ms for one channel
LAYERS = ("Conv", "Gemm", "MatMul")
# Int8 where their input is, which avoids conversions between layers.
SHAPE_OPERATORS = ("MaxPool", "Reshape", "Flatten", "Transpose")
INTERMEDIATE = ("Relu", *SHAPE_OPERATORS)


class CalibrationBatches(CalibrationDataReader):  # type: ignore[misc]
    """Raw examples [N, *shape] as batches for the graph's one input."""

    def __init__(self, name: str, inputs: np.ndarray) -> None:
        size = inference.batch_size(inputs)
        starts = range(0, len(inputs), size)
        self._batches: Iterator[dict[str, np.ndarray]] = ({name: inputs[start : start + size]} for start in starts)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None after the last."""
        return next(self._batches, None)


def reason_against(model: onnx.ModelProto, spec: DataSpec) -> str:
    """The reason not to quantise a graph; empty if there is none."""
    if not spec.is_classification:
        return "a regression has no classes to agree on, by which an int8 graph is judged"
    if not quantized_nodes(model.graph):
        return f"no layer reads {MIN_LAYER_INPUTS} channels or features or more; for fewer int8 is not faster"
    return ""


def quantize(model: onnx.ModelProto, spec: DataSpec, inputs: np.ndarray, path: Path) -> None:
    """Write an int8 copy of a graph, calibrated on raw `inputs` [N, *shape]; deterministic, byte by byte."""
    # ONNX Runtime's preparation is not needed: the exporters fold constants and `finish` infers shapes.
    add_pre_process_metadata(model)
    quantize_static(
        model,
        path,
        CalibrationBatches(spec.input_name, inputs),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # Weights in 7 bits: processors without VNNI add pairs of products in 16 bits, which larger weights would
        # exceed, so that the outputs would depend on the processor.
        reduce_range=True,
        op_types_to_quantize=[*LAYERS, *INTERMEDIATE, "Add"],
        nodes_to_quantize=quantized_nodes(model.graph),
        # Rounded logits would reduce agreement; after a hidden dense layer a conversion takes no time.
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
    )
    quantized = onnx.load(path)
    _keep_maximum_in_float(quantized.graph)
    onnx.save(finish(quantized, spec), path)


def quantized_nodes(graph: onnx.GraphProto) -> list[str]:
    """The names of the nodes to quantise; none if no layer has enough inputs."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    # The nodes before the first such layer scale raw values or encode categories.
    nodes = [*dropwhile(lambda node: not _has_enough_inputs(node, shapes), graph.node)]
    return [
        node.name
        for node in nodes
        if _has_enough_inputs(node, shapes) or node.op_type in INTERMEDIATE or _adds_branches(node, shapes)
    ]


def _has_enough_inputs(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> bool:
    """True of a layer with constant weights and at least MIN_LAYER_INPUTS channels or features."""
    if node.op_type not in LAYERS or node.input[1] not in shapes:
        return False
    shape = shapes[node.input[1]]
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return (shape[1] if node.op_type == "Conv" or transposed else shape[-2]) >= MIN_LAYER_INPUTS


def _adds_branches(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> bool:
    """True of the sum of a residual connection; False of one with a constant."""
    return node.op_type == "Add" and not any(name in shapes for name in node.input)


def _keep_maximum_in_float(graph: onnx.GraphProto) -> None:
    """Insert a Clip to the range of uint8 before each quantisation of the output of a maximum or a change of shape.

    The results stay the same, as quantisation clips too, and ONNX Runtime removes the Clip. Before that, the Clip keeps
    ONNX Runtime from moving the quantisation before a maximum, whose int8 kernel is 15 times slower in this layout.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    for index, node in reversed([*enumerate(graph.node)]):
        producer = producers.get(node.input[0])
        if node.op_type == "QuantizeLinear" and producer and _is_float_shape_operator(producer, producers):
            scale, zero = constants[node.input[1]], constants[node.input[2]]
            graph.node.insert(index, _clip(graph, node, scale, zero))


def _is_float_shape_operator(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> bool:
    """True of a float node that ONNX Runtime could move a quantisation before."""
    source = producers.get(node.input[0])
    return node.op_type in SHAPE_OPERATORS and (source is None or source.op_type != "DequantizeLinear")


def _clip(graph: onnx.GraphProto, node: onnx.NodeProto, scale: np.ndarray, zero: np.ndarray) -> onnx.NodeProto:
    """A Clip before `node`, a QuantizeLinear, to the range that it can represent."""
    names = [f"{node.name}.{limit}" for limit in ("min", "max")]
    for name, limit in zip(names, (0, 255), strict=True):
        value = np.array((limit - int(zero)) * scale, np.float32)
        graph.initializer.append(numpy_helper.from_array(value, name))
    clip = onnx.helper.make_node("Clip", [node.input[0], *names], [f"{node.name}.clipped"])
    node.input[0] = clip.output[0]
    return clip
