"""torch's own file of a trained model, which needs no code of ours and no pickle."""

from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

from models.spec import DataSpec


def save(model: nn.Module, spec: DataSpec, path: Path) -> None:
    """Write a `.pt2`: raw examples [N, *shape] to the outputs of the model, on the CPU."""
    # A batch of one would be taken for a constant.
    example = torch.from_numpy(spec.example(2))
    program = torch.export.export(model.cpu().eval(), (example,), dynamic_shapes=({0: Dim("N", min=1)},))
    torch.export.save(program, path)
