"""Final changes to an exported ONNX graph, the same for both frameworks."""

from collections import Counter

import onnx
from onnx import shape_inference

from models.spec import DataSpec


def finish(model: onnx.ModelProto, spec: DataSpec) -> onnx.ModelProto:
    """Give a graph its final names, a batch dimension `N` and known shapes; remove what depends on the machine.

    Raises RuntimeError where inputs or outputs are not those of the spec.
    """
    _remove_metadata(model)
    _set_signature(model.graph, spec)
    _rename(model.graph)
    model = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    _name_batch(model.graph)
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


def _rename(graph: onnx.GraphProto) -> None:
    """Name nodes by operator and number, values by their node, weights by the node and input they belong to.

    The exporters' names differ between frameworks, and count how often something was exported before.
    """
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    weights = {tensor.name for tensor in graph.initializer}
    count: Counter[str] = Counter()
    for node in graph.node:
        count[node.op_type] += 1
        node.name = f"{node.op_type}_{count[node.op_type]}"
        formal = onnx.defs.get_schema(node.op_type, node.domain).inputs
        for place, name in enumerate(node.input):
            if name in weights:
                names.setdefault(name, f"{node.name}.{formal[min(place, len(formal) - 1)].name}")
        for place, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}.{place}" if place else node.name)
        node.input[:] = [names[name] if name else "" for name in node.input]
        node.output[:] = [names[name] if name else "" for name in node.output]
    for tensor in graph.initializer:
        tensor.name = names[tensor.name]
    graph.initializer.sort(key=lambda tensor: tensor.name)
    graph.name = "tandem"


def _name_batch(graph: onnx.GraphProto) -> None:
    """Name the batch dimension, the only dynamic one: shape inference gives it a new name after each reshape."""
    for value in graph.value_info:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = "N"


def _set_shape(value: onnx.ValueInfoProto, shape: tuple[int | str, ...]) -> None:
    tensor = value.type.tensor_type
    named = onnx.helper.make_tensor_type_proto(tensor.elem_type, shape)
    tensor.shape.CopyFrom(named.tensor_type.shape)


def _remove_metadata(model: onnx.ModelProto) -> None:
    """Remove stack traces and other metadata: they contain paths, and differ between equal graphs."""
    model.doc_string = ""
    model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
