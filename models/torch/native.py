"""torch's own file of a trained model, which needs no code of ours and no pickle."""

from pathlib import Path

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from models.spec import DataSpec


def save(model: nn.Module, spec: DataSpec, path: Path) -> None:
    """Write a `.pt2`: raw examples [N, *shape] to the outputs of the model, on the CPU."""
    torch.export.save(trace(model, spec), path)


def trace(model: nn.Module, spec: DataSpec) -> ExportedProgram:
    """The model on the CPU in inference mode, with a dynamic batch `N`."""
    # A batch of one would be taken for a constant.
    example = torch.from_numpy(spec.example(2))
    return torch.export.export(model.cpu().eval(), (example,), dynamic_shapes=({0: Dim("N", min=1)},))
