"""A multilayer perceptron in torch, as one `nn.Sequential`: each layer has one input, that of the layer before."""

from torch import nn

from models.config import MLP
from models.spec import DataSpec
from models.torch.layers import Dropout, activation, dense, head, inputs, norm


def build(spec: DataSpec, config: MLP) -> nn.Module:
    """Raw examples [N, *shape] to logits float32 [N, K]."""
    layers, width = inputs(spec), spec.width
    for number, hidden in enumerate(config.hidden, start=1):
        layers[f"dense_{number}"] = dense(width, hidden, config, bias=config.normalization == "none")
        layers[f"norm_{number}"] = norm(config, hidden)
        layers[f"activation_{number}"] = activation(config, hidden)
        layers[f"dropout_{number}"] = Dropout(config.dropout)
        width = hidden
    layers["logits"] = head(width, spec.outputs)
    return nn.Sequential(layers)
