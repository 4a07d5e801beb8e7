"""The graph that is served, and torch's own format."""

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from models.export_formats import EXPORTED_PROGRAM, ONNX
from models.interfaces import Predict
from models.onnx.graph import finish
from models.spec import DataSpec
from models.torch.layers import Unscale

OPSET = 20


class Served(nn.Module):
    """A trained model with softmax, or with the target's unit: raw examples to probabilities or predictions."""

    def __init__(self, model: nn.Module, spec: DataSpec) -> None:
        super().__init__()
        self.model = model
        self.activation = nn.Softmax(-1) if spec.is_classification else Unscale(spec)

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw [N, *shape] to probabilities float32 [N,K] or predictions [N,1]."""
        outputs: torch.Tensor = self.activation(self.model(raw))
        return outputs


def export(model: nn.Module, spec: DataSpec, folder: Path) -> None:
    """Write `model.onnx` and `model.pt2` into an existing folder."""
    program = trace(Served(model, spec), spec)
    for module in program.graph_module.modules():  # with the branches of conditions and loops
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)  # it contains paths of this machine
    torch.export.save(program, folder / EXPORTED_PROGRAM)
    onnx.save(to_onnx(program, spec), folder / ONNX)


def trace(model: nn.Module, spec: DataSpec) -> ExportedProgram:
    """The model on the CPU in inference mode, with a dynamic batch `N`."""
    # A batch of one would be taken for a constant.
    example = torch.from_numpy(spec.example(2))
    return torch.export.export(model.cpu().eval(), (example,), dynamic_shapes=({0: Dim("N", min=1)},))


def to_onnx(exported: ExportedProgram, spec: DataSpec) -> onnx.ModelProto:
    """The ONNX graph with the names of the spec, a dynamic batch `N` and weights inline."""
    # It warns of operators of torchvision, which no model here has.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            exported,
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=[spec.input_name],
            output_names=[spec.output_name],
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    return finish(program.model_proto, spec)


def predictor(model: nn.Module, _spec: DataSpec) -> Predict:
    """The trained model as a function of a raw batch [N, *shape] to logits [N, K], or standardised targets [N, 1]."""
    model.eval()

    @torch.no_grad()
    def predict(raw: np.ndarray) -> np.ndarray:
        outputs: np.ndarray = model(torch.from_numpy(raw)).numpy()
        return outputs

    return predict
