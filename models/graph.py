"""The last touches to an exported ONNX graph, the same for both frameworks."""

import onnx
from onnx import shape_inference

from models.spec import DataSpec


def finish(model: onnx.ModelProto, spec: DataSpec) -> onnx.ModelProto:
    """Bring a graph to the contract: names, a batch dimension `N`, known shapes, nothing of this machine.

    Raises RuntimeError where inputs or outputs are not those of the spec.
    """
    _forget_origin(model)
    _set_signature(model.graph, spec)
    model = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def _set_signature(graph: onnx.GraphProto, spec: DataSpec) -> None:
    names = ([value.name for value in graph.input], [value.name for value in graph.output])
    if names != ([spec.input_name], [spec.output_name]):
        raise RuntimeError(f"exported graph has inputs and outputs {names}")
    _set_shape(graph.input[0], ("N", *spec.shape))
    _set_shape(graph.output[0], ("N", spec.outputs))
    # The exporters' own symbols for the batch would stand beside `N`; inference finds these shapes again.
    del graph.value_info[:]


def _set_shape(value: onnx.ValueInfoProto, shape: tuple[int | str, ...]) -> None:
    tensor = value.type.tensor_type
    named = onnx.helper.make_tensor_type_proto(tensor.elem_type, shape)
    tensor.shape.CopyFrom(named.tensor_type.shape)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop stack traces and other notes: they hold paths, and differ where the maths does not."""
    model.doc_string = ""
    model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
