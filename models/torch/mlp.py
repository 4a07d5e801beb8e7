"""A multilayer perceptron in torch, as one `nn.Sequential`: each layer has one input, that of the layer before."""

import math
from collections import OrderedDict

from torch import nn

from models.config import MLP
from models.spec import DataSpec
from models.torch.layers import Scale, activation, dense, head, norm


def build(spec: DataSpec, config: MLP) -> nn.Module:
    """Raw examples [N, *shape] to logits float32 [N, K]."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(scale=Scale(spec), flatten=nn.Flatten())
    width = math.prod(spec.shape)
    for number, hidden in enumerate(config.hidden, start=1):
        layers[f"dense_{number}"] = dense(width, hidden, config, bias=config.normalization == "none")
        layers[f"norm_{number}"] = norm(config, hidden)
        layers[f"activation_{number}"] = activation(config, hidden)
        layers[f"dropout_{number}"] = nn.Dropout(config.dropout)
        width = hidden
    layers["logits"] = head(width, spec.outputs)
    return nn.Sequential(layers)
