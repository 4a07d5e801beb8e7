"""A linear model in torch, as one `nn.Sequential`."""

from torch import nn

from models.config import Linear
from models.spec import DataSpec
from models.torch.layers import head, inputs


def build(spec: DataSpec, config: Linear) -> nn.Module:
    """Raw examples [N, *shape] to logits float32 [N, K]."""
    layers = inputs(spec)
    layers["logits"] = head(spec.width, spec.outputs, config.initializer)
    return nn.Sequential(layers)
