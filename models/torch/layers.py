"""Layers that every torch model here is made of. Initialisers and epsilons are those of the Keras room."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from models.config import Initializer
from models.spec import DataSpec, scaling

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}

# Normal means normal, not truncated at two standard deviations, in both rooms.
INITIALIZERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "glorot_uniform": nn.init.xavier_uniform_,
    "glorot_normal": nn.init.xavier_normal_,
    "he_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "he_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
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


def head(inputs: int, outputs: int, initializer: Initializer = "glorot_uniform") -> nn.Linear:
    """The last layer, whose outputs are logits: zero bias."""
    layer = nn.Linear(inputs, outputs)
    INITIALIZERS[initializer](layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps height and width; no bias, as a normalisation follows."""
    layer = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    return layer


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose moving variance is that of the batch, as in Keras.

    torch normalises with the same variance but remembers it times n / (n - 1).
    """

    running_var: torch.Tensor
    momentum: float

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Normalise a batch; in training, move the statistics."""
        if not self.training:
            return super().forward(x_NCHW)
        moved = self.running_var.clone()
        normalised = functional.batch_norm(
            x_NCHW, self.running_mean, moved, self.weight, self.bias, True, self.momentum, self.eps
        )
        count = x_NCHW.numel() / x_NCHW.shape[1]
        self.running_var.copy_(moved.lerp(self.running_var * (1 - self.momentum), 1 / count))
        return normalised


def norm(channels: int) -> BatchNorm:
    """Batch normalisation that moves its statistics by a tenth at each step."""
    return BatchNorm(channels, eps=1e-5, momentum=0.1)
