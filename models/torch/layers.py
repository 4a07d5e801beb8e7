"""Layers that every torch model here is made of. Initialisers and epsilons are those of the Keras room."""

import torch
from torch import nn

from models.spec import DataSpec, scaling

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class Scale(nn.Module):
    """Raw values [N, ..., C] to float32 with mean 0 and standard deviation 1 by the training statistics."""

    factor: torch.Tensor
    offset: torch.Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        factor, offset = (torch.from_numpy(array) for array in scaling(spec))
        self.register_buffer("factor", factor, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """Scale a batch."""
        return raw.to(torch.float32) * self.factor + self.offset


def dense(inputs: int, outputs: int) -> nn.Linear:
    """A hidden dense layer: He uniform kernel, zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def head(inputs: int, outputs: int) -> nn.Linear:
    """The last layer, whose outputs are logits: Glorot uniform kernel, zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps height and width; no bias, as a normalisation follows."""
    layer = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    return layer


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation that moves its statistics by a tenth at each step."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
