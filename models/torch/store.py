"""A torch model's weights as named arrays in the layout that both twins share, and their file.

Names are `layer/weight`; dense kernels are [inputs, outputs], convolution kernels [H, W, inputs,
outputs], as Keras keeps them. So a checkpoint of one framework is one of the other.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.checkpoint import read, require_match, write

CONV_TO_SHARED, CONV_TO_TORCH = (2, 3, 1, 0), (3, 2, 0, 1)  # OIHW <-> HWIO
SCALED = {"gamma": "weight", "beta": "bias"}
NAMES: dict[type[nn.Module], dict[str, str]] = {
    nn.Linear: {"kernel": "weight", "bias": "bias"},
    nn.Conv2d: {"kernel": "weight", "bias": "bias"},
    nn.BatchNorm2d: {**SCALED, "moving_mean": "running_mean", "moving_variance": "running_var"},
    nn.LayerNorm: SCALED,
    nn.PReLU: {"alpha": "weight"},
}


def get_weights(model: nn.Module) -> dict[str, np.ndarray]:
    """All weights and moving statistics, float32, copied."""
    return {name: to_shared(tensor) for name, tensor in tensors(model)}


def set_weights(model: nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Copy weights in. Raises InputError where names or shapes differ from the model's."""
    require_match({name: array.shape for name, array in get_weights(model).items()}, weights)
    with torch.no_grad():
        for name, tensor in tensors(model):
            tensor.copy_(_transposed(torch.from_numpy(weights[name]), CONV_TO_TORCH))


def save(model: nn.Module, path: Path) -> None:
    """Write `weights.npz`."""
    write(get_weights(model), path)


def load(model: nn.Module, path: Path) -> None:
    """Read `weights.npz` into a model that was built with the same configuration."""
    set_weights(model, read(path))


def parameters(model: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def to_shared(tensor: torch.Tensor) -> np.ndarray:
    """A copy of a weight, or of its gradient, in the shared layout."""
    return np.ascontiguousarray(_transposed(tensor, CONV_TO_SHARED).detach().cpu().numpy().copy())


def tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Each weight and moving statistic by its shared name, in torch's own layout."""
    for path, module in model.named_modules():
        for kind, names in NAMES.items():
            if isinstance(module, kind):
                own = {shared: getattr(module, name) for shared, name in names.items()}
                yield from (
                    (f"{layer_name(model, path)}/{shared}", own[shared]) for shared in own if own[shared] is not None
                )


def layer_name(model: nn.Module, path: str) -> str:
    """The name of a layer and the blocks around it, without any `nn.Sequential`, which Keras' twin may not have."""
    parts = path.split(".")
    parents = [model.get_submodule(".".join(parts[: end + 1])) for end in range(len(parts))]
    return "/".join(part for part, parent in zip(parts, parents, strict=True) if not isinstance(parent, nn.Sequential))


def _transposed(tensor: torch.Tensor, convolution: tuple[int, ...]) -> torch.Tensor:
    if tensor.ndim == 4:
        return tensor.permute(convolution)
    return tensor.T if tensor.ndim == 2 else tensor
