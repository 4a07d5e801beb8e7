"""A linear model in torch, as one `nn.Sequential`: nothing but one layer after the other."""

import math
from collections import OrderedDict

from torch import nn

from models.config import Linear
from models.spec import DataSpec
from models.torch.layers import Scale, head


def build(spec: DataSpec, config: Linear) -> nn.Module:
    """Raw examples [N, *shape] to logits float32 [N, K]."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(scale=Scale(spec), flatten=nn.Flatten())
    layers["logits"] = head(math.prod(spec.shape), spec.outputs, config.initializer)
    return nn.Sequential(layers)
