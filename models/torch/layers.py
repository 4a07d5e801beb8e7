"""Layers that every torch model here is made of. Initialisers and constants are those of `models.keras`."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from models.config import Hidden, Initializer
from models.constants import BATCH_NORM_MOMENTUM, LEAKY_RELU_SLOPE, NORM_EPSILON, PRELU_SLOPE
from models.encoding import encoding
from models.spec import DataSpec, scaling

ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda _: nn.ReLU(),
    "leaky_relu": lambda _: nn.LeakyReLU(LEAKY_RELU_SLOPE),
    "prelu": lambda channels: nn.PReLU(channels, init=PRELU_SLOPE),
    "elu": lambda _: nn.ELU(),
    "gelu": lambda _: nn.GELU(approximate="none"),
    "silu": lambda _: nn.SiLU(),
    "tanh": lambda _: nn.Tanh(),
    "sigmoid": lambda _: nn.Sigmoid(),
}

# In both framework packages normal distributions are not truncated at two standard deviations.
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


class Columns(nn.Module):
    """Raw columns [N,F] of a table to float32 [N,D]: numbers filled and standardised, categories one-hot."""

    fill: torch.Tensor | None
    column: torch.Tensor | None
    code: torch.Tensor
    mean: torch.Tensor
    factor: torch.Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        for name, array in encoding(spec)._asdict().items():
            self.register_buffer(name, None if array is None else torch.from_numpy(array), persistent=False)

    def forward(self, raw_NF: torch.Tensor) -> torch.Tensor:
        """Encode a batch."""
        if self.fill is not None:
            raw_NF = torch.where(raw_NF.isnan(), self.fill, raw_NF)
        if self.column is None:
            return (raw_NF - self.mean) * self.factor
        raw_ND = raw_NF.index_select(1, self.column)
        return (raw_ND - self.mean) * self.factor + (raw_ND == self.code).to(torch.float32)


def scale(spec: DataSpec) -> nn.Module:
    """The first layer of every model: raw values to float32 of mean 0 and standard deviation 1 in training."""
    return Columns(spec) if spec.kind == "tabular" else Scale(spec)


class Unscale(nn.Module):
    """The standardised target of a regression, [N,1], to its own unit."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([[spec.target_mean]]), persistent=False)
        self.register_buffer("std", torch.tensor([[spec.target_std]]), persistent=False)

    def forward(self, standardised: torch.Tensor) -> torch.Tensor:
        """Predictions in the target's unit."""
        return standardised * self.std + self.mean


def inputs(spec: DataSpec) -> OrderedDict[str, nn.Module]:
    """The first layers of a model that reads a vector: scaled and flat."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(scale=scale(spec))
    if spec.kind == "image":
        layers["flatten"] = nn.Flatten()
    return layers


def activation(config: Hidden, channels: int) -> nn.Module:
    """The activation by name: `gelu` is exact, `prelu` learns a slope per channel."""
    return ACTIVATIONS[config.activation](channels)


def dense(inputs: int, outputs: int, config: Hidden, bias: bool) -> nn.Linear:
    """A hidden dense layer; a bias starts at zero."""
    layer = nn.Linear(inputs, outputs, bias)
    INITIALIZERS[config.initializer](layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def head(inputs: int, outputs: int, initializer: Initializer = "glorot_uniform") -> nn.Linear:
    """The last layer, whose outputs are logits: zero bias."""
    layer = nn.Linear(inputs, outputs)
    INITIALIZERS[initializer](layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def conv(inputs: int, outputs: int, config: Hidden, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution, padded equally on all sides, that divides height and width by `stride`; a bias starts at zero."""
    bias = config.normalization == "none"
    layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=bias)
    INITIALIZERS[config.initializer](layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose moving variance is that of the batch, as in Keras.

    torch normalises with the same variance but remembers it times n / (n - 1).
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    momentum: float

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise a batch [N,C] or [N,C,H,W]; in training, update the moving statistics."""
        moved = self.running_var.clone() if self.training else self.running_var
        normalised = functional.batch_norm(
            x, self.running_mean, moved, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        if not self.training:
            return normalised
        count = x.numel() / x.shape[1]
        self.running_var.copy_(moved.lerp(self.running_var * (1 - self.momentum), 1 / count))
        return normalised


class Dropout(nn.Dropout):
    """Dropout with a mask of random 16-bit integers, so that the probability is a multiple of 2^-16.

    torch draws one number for each element on a single thread: 2.6 ms for 128x2352 elements, against 0.9 ms here.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """In training, zero elements at random and scale the others; on a GPU, torch's own layer."""
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        return x * self.factors(x, x.shape)

    def factors(self, x: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """Random factors of this shape, 0 or 1 / (1 - p), of the type and on the device of `x`."""
        if x.device.type != "cpu":
            return functional.dropout(x.new_ones(shape), self.p)
        count = shape.numel()
        drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(1 << 63), None).view(torch.int16)[:count]
        kept = drawn >= min(round(self.p * (1 << 16)), (1 << 16) - 1) - (1 << 15)
        return kept.view(shape).to(x.dtype).mul_(1 / (1 - self.p))


class LayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each example, and of each place in an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise a batch [N,C] or [N,C,H,W]."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": lambda channels: BatchNorm(channels, eps=NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM),
    "layer": lambda channels: LayerNorm(channels, eps=NORM_EPSILON),
    "none": lambda _: nn.Identity(),
}


def norm(config: Hidden, channels: int) -> nn.Module:
    """The normalisation by name; the momentum of moving statistics is 0.9 (0.1 in torch's definition)."""
    return NORMALIZATIONS[config.normalization](channels)
